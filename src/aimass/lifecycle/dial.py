"""`aimass dial measure` and `pack`: the operating points of a model, on this machine or for all.

What is measured here is kept under ``AIMASS_HOME/dial`` by the digest of the bundle, which stays
as it is. Packing makes a new version of the model that holds its points, and the students that
are to stand beside its members.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.digests import of_value
from aimass.base.errors import RequestError
from aimass.base.settings import Settings, settings
from aimass.data.sound import sound_of
from aimass.ensemble.kept import Outputs
from aimass.evaluation.units import METRICS, Metric
from aimass.lifecycle.combine import Purpose, heard_by_all, kind_of
from aimass.lifecycle.combine import part as member_of
from aimass.lifecycle.curve import PAGE, write_curve
from aimass.lifecycle.gather import DEV, TEST, Data, ensembles
from aimass.lifecycle.points import DialSpec, Trial, machine, measure_points, with_points
from aimass.lifecycle.stages import fingerprint
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, Manifest, load_member
from aimass.registry.massive import MemberModel, pretrained_member
from aimass.registry.points import Wish
from aimass.registry.store import Published, Registry
from aimass.runtime.dial import Measured, keep, points_path
from aimass.runtime.load import resolve
from aimass.runtime.massive import pack

PROOF_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Turned:
    """What measuring a dial gives.

    Args:
        page: the curve for people.
        published: the version that holds the points; None where they stand beside the bundle.
    """

    model: str
    trial: Trial
    page: Path
    published: Published | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        version = {"version": self.published.version} if self.published else {}
        return self.trial.to_dict(self.model) | {"page": str(self.page)} | version


def measure_dial(
    reference: str,
    data: Data,
    spec: DialSpec | None = None,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Turned:
    """Measure the operating points of a model on this machine, and keep them beside it.

    Raises:
        UnknownModel: there is no such model.
        RequestError: a model of others, or one of voiceprints, which has no points.
        DataError, AudioError: recordings that cannot be used.
    """
    config = config or settings()
    bundle = _bundle(reference, config)
    with ensembles(config) as stages:
        sets = data.sets()
        models = members_of(bundle, config.home)
        purpose = _purpose(bundle, of_value([[s, fingerprint(c)] for s, c in sets.items()]))
        heard = heard_by_all(purpose, models, sets, stages, progress)
        trial = _measured(bundle, models, heard, purpose, config, spec, progress)
    about = f"{data.source.name}, {len((heard.get(TEST) or heard[DEV]).clips)} utterances"
    found = Measured(model=reference, machine=machine(), data=about, points=trial.kept)
    keep(points_path(config.home, bundle.digest), found)
    return _told(bundle.manifest, bundle.digest, trial, config)


def pack_dial(
    reference: str,
    data: Data,
    students: Sequence[str] = (),
    wish: Wish | None = None,
    spec: DialSpec | None = None,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Turned:
    """Publish a version of a model that holds its operating points, and students beside it.

    Args:
        students: models of the same outputs, which answer alone in first stages.
        wish: which point is taken where nobody asks for one; the model as it is when None.

    Raises:
        UnknownModel, RequestError, DataError, AudioError: as `measure_dial`.
        BundleError: students that do not go with the members.
    """
    config = config or settings()
    bundle = _bundle(reference, config)
    with ensembles(config) as stages:
        sets = data.sets()
        models = members_of(bundle, config.home)
        beside = {
            _free(name, models): member_of(name, bundle.manifest.task, config) for name in students
        }
        purpose = _purpose(bundle, of_value([[s, fingerprint(c)] for s, c in sets.items()]))
        everybody = {**models, **beside}
        heard = heard_by_all(purpose, everybody, sets, stages, progress)
        folder = stages.scratch("dial", [bundle.digest, list(students), purpose.data]) / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        if beside:
            proof = sound_of(sets[DEV].clips[0], bundle.sample_rate)
            made = _with_students(bundle, models, beside, proof, folder, config)
        else:
            shutil.copytree(bundle.folder, folder)
            made = bundles.load(folder)
        trial = _measured(made, everybody, heard, purpose, config, spec, progress)
        made = with_points(made, trial.kept, wish)
        published = Registry(config.home, config.registry_url).publish(made)
        shutil.rmtree(folder.parent, ignore_errors=True)
    return _told(bundle.manifest, published.digest, trial, config, published)


def _told(
    manifest: Manifest,
    digest: str,
    trial: Trial,
    config: Settings,
    published: Published | None = None,
) -> Turned:
    page = config.home / "dial/pages" / digest[:16]
    told = Turned(manifest.name, trial, page / PAGE, published)
    write_curve(page, told.to_dict(), trial.kept, trial.points, manifest.metric)
    return told


def members_of(bundle: Bundle, home: Path) -> dict[str, MemberModel]:
    """The members of a massive model; of another itself."""
    if bundle.massive is None:
        return {bundle.manifest.name: bundle}
    return {
        member.name: load_member(bundle, member)
        if member.pretrained is None
        else pretrained_member(member, home)
        for member in bundle.massive.members
    }


def _bundle(reference: str, config: Settings) -> Bundle:
    found = resolve(reference, config)
    if found.kind == "bundle":
        bundle = bundles.load(found.folder)
        if bundle.manifest.task is not Task.EMBED:
            return bundle
    what = "of voiceprints" if found.kind == "bundle" else "of others"
    raise RequestError(
        f"the dial of '{reference}', a model {what}",
        expected="a model that was built here, and transcribes or classifies",
        fix="Put it beside others: aimass ensemble combine NAME MODEL MODEL --data DIR",
        param="model",
    )


def _measured(
    bundle: Bundle,
    models: Mapping[str, MemberModel],
    heard: Mapping[str, Outputs],
    purpose: Purpose,
    config: Settings,
    spec: DialSpec | None,
    progress: Progress,
) -> Trial:
    kind = kind_of(purpose, models)
    return measure_points(bundle, models, heard, kind, config.home, spec or DialSpec(), progress)


def _purpose(bundle: Bundle, data: str) -> Purpose:
    manifest = bundle.manifest
    metric: Metric = next(metric for metric in METRICS if metric == manifest.metric)
    return Purpose(manifest.name, manifest.task, manifest.language, metric, data)


def _free(reference: str, models: Mapping[str, MemberModel]) -> str:
    """A name for a student that no member has."""
    name = own = reference.partition("@")[0]
    taken, count = {other.casefold() for other in models}, 1
    while name.casefold() in taken:
        count += 1
        name = f"{own}-{count}"
    return name


def _with_students(
    bundle: Bundle,
    models: Mapping[str, MemberModel],
    beside: Mapping[str, MemberModel],
    proof: Any,
    folder: Path,
    config: Settings,
) -> Bundle:
    """A massive model packed anew, with students that its combination does not hear."""
    massive = bundle.massive
    if massive is None:
        raise RequestError(
            f"students beside '{bundle.manifest.name}', a single model",
            expected="a massive model",
            fix="Measure the student by itself: aimass dial measure",
            param="student",
        )
    own = massive.combining
    none = (0.0,) * len(beside)
    combination = replace(
        own, weights=(*own.weights, *none), temperatures=(*own.temperatures, *(1.0 for _ in none))
    )
    folder.mkdir(parents=True)
    shutil.copy(bundle.folder / bundles.LICENCE, folder)
    left_out = {"format", "files", "parameters", "points", "dial"}
    content = bundle.manifest.model_dump(mode="json", exclude=left_out)
    content["massive"] = {
        k: v for k, v in content["massive"].items() if k not in ("combination", "members")
    }
    content["licences"] = content["licences"] | {
        f"{name} weights": model.manifest.licences.get("weights", "unknown")
        if isinstance(model, Bundle)
        else model.licence
        for name, model in beside.items()
    }
    samples = proof[: PROOF_SECONDS * bundle.sample_rate]
    return pack(folder, content, combination, {**models, **beside}, samples, home=config.home)
