"""What is written beside a model for sherpa-onnx: its settings, and programs that use them."""

from string import Template
from typing import Any

from aimass.registry.bundle import Bundle

_README = Template(
    """\
# $name
A streaming speech recogniser for [sherpa-onnx](https://github.com/k2-fsa/sherpa-onnx),
language $language, $parameters parameters, made by AI Mass. The licence of its training data is in
`LICENCE.txt`: $licence

| setting | value |
|---|---|
| kind of model | streaming NeMo CTC |
| sample rate | $rate Hz, mono |
| feature dimension | $bins |
| decoding | greedy search |
| window | $window frames: $window_ms ms |
| silence after the last word | $silence s |
| arithmetic | $arithmetic |
| sherpa-onnx | $release; $releases compute the features that it hears |

Give samples at $rate Hz. sherpa-onnx resamples others, a little differently from AI Mass. A word at
the very end of the sound comes out only behind the silence above; sound that goes on needs none.
$times
The graph takes any number of streams at once, each with a past of its own, and what one hears does
not depend on the others.

## Python
`pip install sherpa-onnx==$release`

```python
import wave

import numpy as np
import sherpa_onnx

recognizer = sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
    model="model.onnx", tokens="tokens.txt", sample_rate=$rate, feature_dim=$bins, num_threads=1
)
stream = recognizer.create_stream()
with wave.open("speech.wav") as sound:  # $rate Hz, mono, 16 bit
    samples = np.frombuffer(sound.readframes(-1), np.int16) / np.float32(32768)
stream.accept_waveform($rate, samples)
stream.accept_waveform($rate, np.zeros($zeros, np.float32))  # $silence s of silence
while recognizer.is_ready(stream):
    recognizer.decode_stream(stream)
print(recognizer.get_result(stream).strip())
```

## Command line
```text
sherpa-onnx --nemo-ctc-model=model.onnx --tokens=tokens.txt --sample-rate=$rate \\
  --feat-dim=$bins --num-threads=1 --left-padding=0 --right-padding=$silence speech.wav
```

## C++
```cpp
#include <iostream>
#include <vector>

#include "sherpa-onnx/c-api/cxx-api.h"

int main() {
  using namespace sherpa_onnx::cxx;
  OnlineRecognizerConfig config;
  config.feat_config.sample_rate = $rate;
  config.feat_config.feature_dim = $bins;
  config.model_config.nemo_ctc.model = "model.onnx";
  config.model_config.tokens = "tokens.txt";
  OnlineRecognizer recognizer = OnlineRecognizer::Create(config);
  OnlineStream stream = recognizer.CreateStream();
  Wave sound = ReadWave("speech.wav");  // $rate Hz, mono, 16 bit
  stream.AcceptWaveform(sound.sample_rate, sound.samples.data(), sound.samples.size());
  std::vector<float> silence($zeros);
  stream.AcceptWaveform($rate, silence.data(), silence.size());
  while (recognizer.IsReady(&stream)) recognizer.Decode(&stream);
  std::cout << recognizer.GetResult(&stream).text << std::endl;
}
```

## JavaScript (Node.js)
`npm install sherpa-onnx@$release`

```js
const sherpa = require('sherpa-onnx')
const recognizer = sherpa.createOnlineRecognizer({
  featConfig: {sampleRate: $rate, featureDim: $bins},
  modelConfig: {nemoCtc: {model: 'model.onnx'}, tokens: 'tokens.txt', debug: 0},
})
const stream = recognizer.createStream()
const sound = sherpa.readWave('speech.wav')  // $rate Hz, mono, 16 bit
stream.acceptWaveform(sound.sampleRate, sound.samples)
stream.acceptWaveform($rate, new Float32Array($zeros))
while (recognizer.isReady(stream)) recognizer.decode(stream)
console.log(recognizer.getResult(stream).text.trim())
```

## Android
Put `model.onnx` and `tokens.txt` into `app/src/main/assets/$name`.

```kotlin
val recognizer = OnlineRecognizer(
    assetManager = assets,
    config = OnlineRecognizerConfig(
        featConfig = FeatureConfig(sampleRate = $rate, featureDim = $bins),
        modelConfig = OnlineModelConfig(
            neMoCtc = OnlineNeMoCtcModelConfig(model = "$name/model.onnx"),
            tokens = "$name/tokens.txt",
            numThreads = 1,
        ),
    ),
)
```

## iOS
```swift
let model = sherpaOnnxOnlineModelConfig(
  tokens: Bundle.main.path(forResource: "tokens", ofType: "txt")!,
  numThreads: 1,
  nemoCtc: sherpaOnnxOnlineNemoCtcModelConfig(
    model: Bundle.main.path(forResource: "model", ofType: "onnx")!))
var config = sherpaOnnxOnlineRecognizerConfig(
  featConfig: sherpaOnnxFeatureConfig(sampleRate: $rate, featureDim: $bins),
  modelConfig: model)
let recognizer = SherpaOnnxRecognizer(config: &config)
```

## Browser
Put `model.onnx` as `nemo-ctc.onnx`, and `tokens.txt`, into `wasm/asr/assets` of sherpa-onnx. In
`wasm/asr/sherpa-onnx-asr.js` set `type` to 3, `sampleRate` to $rate and `featureDim` to $bins; the
sample rate stands in `wasm/asr/app-asr.js` too. Then `./build-wasm-simd-asr.sh`.
"""
)


def readme(bundle: Bundle, window: int, silence: float, settled: bool, release: str) -> str:
    """The page beside an exported model.

    Args:
        window: frames a step.
        silence: seconds to feed after the last sample.
        settled: whether int8 weights compute in float.
        release: of the sherpa-onnx that is to run it.
    """
    manifest, features = bundle.manifest, bundle.features
    precision = "float, weights in int8" if settled else bundle.form.precision
    nemo = features.kind == "nemo"
    values: dict[str, Any] = {
        "name": manifest.name,
        "language": manifest.language,
        "parameters": manifest.parameters,
        "licence": manifest.licences.get("weights", "see there"),
        "rate": features.sample_rate,
        "bins": features.bins,
        "window": window,
        "window_ms": window * 10,
        "silence": silence,
        "zeros": round(silence * features.sample_rate),
        "arithmetic": precision,
        "release": release,
        "releases": "releases from 2.0.1 on" if nemo else "releases up to 2.0.0",
        "times": _times(bundle.form.stack),
    }
    return _README.substitute(values)


def _times(stack: int) -> str:
    if stack == 4:
        return ""
    return f"Its times count rows of 40 ms; these have {stack * 10}: multiply by {stack / 4:g}.\n"
