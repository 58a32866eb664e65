"""`aimass dial measure` and `pack`: the operating points of a model, on this machine or for all.

What is measured here is kept under ``AIMASS_HOME/dial`` by the digest of the bundle, which stays
as it is. Packing makes a new version of the model that holds its points, and the students that
are to stand beside its members.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aimass import __version__
from aimass.base.contract import Progress, Task, no_progress
from aimass.base.errors import RequestError
from aimass.base.settings import Settings, settings
from aimass.data.corpus import Corpus
from aimass.data.sound import sound_of
from aimass.ensemble.kept import Outputs
from aimass.evaluation.units import METRICS, Metric
from aimass.lifecycle.combine import Purpose, Sets, heard_by_all, kind_of
from aimass.lifecycle.combine import part as member_of
from aimass.lifecycle.curve import NUMBERS, PAGE, write_curve
from aimass.lifecycle.due import pass_card_on
from aimass.lifecycle.gather import DEV, TEST, Data, ensembles, recordings_of
from aimass.lifecycle.points import DialSpec, Trial, machine, measure_points, with_points
from aimass.lifecycle.stages import Stages
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, load_member
from aimass.registry.massive import MemberModel, digest_of, pretrained_member
from aimass.registry.points import Wish
from aimass.registry.store import Published, Registry
from aimass.runtime.dial import Measured, keep, pick, points_path
from aimass.runtime.load import resolve
from aimass.runtime.massive import pack

PROOF_SECONDS = 10
BUNDLE, CURVE = "bundle", "dial"


@dataclass(frozen=True, slots=True)
class Turned:
    """What measuring a dial gives.

    Args:
        numbers: of every point, of machine and checks, as `Trial.to_dict` has them.
        page: the curve for people.
        published: the version that holds the points; None where they stand beside the bundle.
    """

    numbers: dict[str, Any]
    page: Path
    published: Published | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        version = {"version": self.published.version} if self.published else {}
        return self.numbers | {"page": str(self.page)} | version


@dataclass(frozen=True, slots=True)
class Dialled:
    """A bundle that holds its operating points, and the folder with their curve."""

    bundle: Bundle
    report: Path

    @property
    def numbers(self) -> dict[str, Any]:
        """As `Trial.to_dict` has them."""
        found: dict[str, Any] = json.loads((self.report / NUMBERS).read_text(encoding="utf-8"))
        return found


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
        purpose = _purpose(bundle, sets)
        heard = heard_by_all(purpose, models, sets, stages, progress)
        kind = kind_of(purpose, models)
        trial = measure_points(
            bundle, models, heard, kind, config.home, spec or DialSpec(), progress
        )
    about = f"{data.source.name}, {len((heard.get(TEST) or heard[DEV]).clips)} utterances"
    found = Measured(model=reference, machine=machine(), data=about, points=trial.kept)
    keep(points_path(config.home, bundle.digest), found)
    folder = config.home / "dial/pages" / bundle.digest[:16]
    _write_curve(folder, bundle, trial)
    return Turned(trial.to_dict(bundle.manifest.name), folder / PAGE)


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
        wish: which point is taken where nobody asks for one; as the model has it when None.

    Raises:
        UnknownModel, RequestError, DataError, AudioError: as `measure_dial`; also a wish that no
            point gives.
        BundleError: students that do not go with the members.
    """
    config = config or settings()
    bundle = _bundle(reference, config)
    if students and bundle.massive is None:
        raise RequestError(
            f"students beside '{bundle.manifest.name}', a single model",
            expected="a massive model",
            fix="Measure the student by itself: aimass dial measure",
            param="student",
        )
    models = members_of(bundle, config.home)
    beside = named_beside(
        models, [(name, member_of(name, bundle.manifest.task, config)) for name in students]
    )
    wish = wish or bundle.manifest.dial
    with ensembles(config) as stages:
        sets = data.sets()
        purpose = _purpose(bundle, sets)
        everybody = {**models, **beside}
        heard = heard_by_all(purpose, everybody, sets, stages, progress)
        scratch = stages.scratch("dial", [bundle.digest, list(students), purpose.data])
        shutil.rmtree(scratch, ignore_errors=True)
        given = Given(bundle, beside, heard, sets[DEV], purpose)
        made = write_dialled(given, wish, spec or DialSpec(), scratch, config, progress)
        if wish:
            pick(made.bundle.manifest.points or (), wish)
        pass_card_on(config.home, bundle.digest, made.bundle.digest)
        published = Registry(config.home, config.registry_url).publish(made.bundle)
        page = config.home / "dial/pages" / published.digest[:16]
        shutil.rmtree(page, ignore_errors=True)
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made.report, page)
        numbers = Dialled(made.bundle, page).numbers
        shutil.rmtree(scratch, ignore_errors=True)
    return Turned(numbers, page / PAGE, published)


def dialled(
    bundle: Bundle,
    students: Mapping[str, MemberModel],
    purpose: Purpose,
    sets: Sets,
    wish: Wish,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> Dialled:
    """Stage dial of a build: what serves, with its students beside it and its operating points.

    Args:
        students: by the names that they are to have; none of a single model.
        sets: ``dev`` and ``test``.
        wish: which point serves where a request asks for none.

    Raises:
        BundleError: students that do not go with the members.
    """
    models = members_of(bundle, config.home)
    beside = named_beside(models, list(students.items()))
    asked = sets if bundle.massive else {TEST: sets[TEST]}
    heard = heard_by_all(purpose, {**models, **beside}, asked, stages, progress)
    given, spec = Given(bundle, beside, heard, sets[DEV], purpose), DialSpec()

    def work(folder: Path) -> None:
        write_dialled(given, wish, spec, folder, config, progress)

    digests = {name: digest_of(student) for name, student in beside.items()}
    wanted = wish.model_dump(mode="json")
    inputs = [__version__, bundle.digest, digests, purpose.data, wanted, asdict(spec), machine()]
    folder = stages.run("dial", inputs, work)
    return Dialled(bundles.load(folder / BUNDLE), folder / CURVE)


@dataclass(frozen=True, slots=True)
class Given:
    """What operating points are measured of.

    Args:
        students: models that are to stand beside the members, by name; none of a single model.
        heard: what every one of them says of ``dev`` and, where there is one, of ``test``.
        dev: its first clip becomes the golden input of members with students.
    """

    bundle: Bundle
    students: Mapping[str, MemberModel]
    heard: Mapping[str, Outputs]
    dev: Corpus
    purpose: Purpose


def write_dialled(
    given: Given,
    wish: Wish | None,
    spec: DialSpec,
    folder: Path,
    config: Settings,
    progress: Progress,
) -> Dialled:
    """Write a bundle with its students beside it and its operating points, and their curve.

    Args:
        wish: which point is taken where nobody asks for one.
        folder: to be filled.

    Raises:
        BundleError: students that do not go with the members.
    """
    bundle, target = given.bundle, folder / BUNDLE
    models = members_of(bundle, config.home)
    if given.students:
        proof = sound_of(given.dev.clips[0], bundle.sample_rate)
        made = _with_students(bundle, models, given.students, proof, target, config)
    else:
        shutil.copytree(bundle.folder, target)
        made = bundles.load(target)
    everybody = {**models, **given.students}
    kind = kind_of(given.purpose, everybody)
    trial = measure_points(made, everybody, given.heard, kind, config.home, spec, progress)
    _write_curve(folder / CURVE, bundle, trial)
    return Dialled(with_points(made, trial.kept, wish), folder / CURVE)


def _write_curve(folder: Path, bundle: Bundle, trial: Trial) -> None:
    manifest = bundle.manifest
    write_curve(folder, trial.to_dict(manifest.name), trial.kept, trial.points, manifest.metric)


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


def _purpose(bundle: Bundle, sets: Sets) -> Purpose:
    manifest = bundle.manifest
    metric: Metric = next(metric for metric in METRICS if metric == manifest.metric)
    return Purpose(manifest.name, manifest.task, manifest.language, metric, recordings_of(sets))


def named_beside(
    models: Mapping[str, MemberModel], students: Sequence[tuple[str, MemberModel]]
) -> dict[str, MemberModel]:
    """Students by names that no member and no other of them has."""
    beside: dict[str, MemberModel] = {}
    for reference, student in students:
        beside[_free(reference, {**models, **beside})] = student
    return beside


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
    assert bundle.massive is not None
    own = bundle.massive.combining
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
