"""Laws are about answers; how long one example takes on a busy machine is not one of them."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
