"""3 Augment: what the microphone, the room and the speaker might have done otherwise."""
