"""A model by name, exported for sherpa-onnx."""

from pathlib import Path

from aimass.compression.sherpa import RELEASE, Exported, export_sherpa, settled_bundle
from aimass.registry.bundle import MANIFEST
from aimass.runtime.load import resolve


def phones(
    model: str,
    target: Path,
    *,
    window: int | None = None,
    release: str | None = None,
    server: Path | None = None,
) -> Exported:
    """Write a model in the form that sherpa-onnx loads.

    Args:
        model: a name, or the folder of a bundle.
        target: a new folder.
        window: frames a step; the greatest up to 32 that fits where none is given.
        release: of the sherpa-onnx that is to run it; the one of the tests where none is given.
        server: a new folder for a bundle that computes the same on a server.

    Raises:
        UnknownModel: no model of that name.
        BundleError, RequestError, IntegrityError: as `export_sherpa` and `settled_bundle`.
    """
    own = Path(model)
    folder = own if (own / MANIFEST).is_file() else resolve(model).folder
    done = export_sherpa(folder, target, window, release or RELEASE)
    if server is not None:
        settled_bundle(folder, server)
    return done
