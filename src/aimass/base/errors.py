"""Every error that AI Mass raises on purpose, as one tree.

::

    AimassError                     exit  HTTP
    ├── AudioError                     3   400   the sound itself
    │   ├── AudioNotFound              3   404   no such file
    │   ├── EmptyAudio                 3   400   no bytes, or no samples
    │   ├── NotAudio                   3   415   bytes that are no known container
    │   ├── CorruptAudio               3   400   a known container that does not decode
    │   ├── TruncatedAudio             3   400   ends before its header says
    │   ├── SilentAudio                3   400   nothing but digital silence
    │   ├── InvalidSamples             3   400   NaN or infinite samples
    │   ├── UnsupportedRate            3   400   outside 8 to 48 kHz
    │   ├── UnsupportedChannels        3   400   none, or too many
    │   └── AudioTooLarge              3   413   more bytes, seconds or expansion than allowed
    ├── RequestError                   2   400   a field of a request or command
    ├── ScenarioError                  4   400   the scenario file
    ├── DataError                      4   400   a data folder or manifest
    ├── FeatureError                   4   400   a front end that cannot be built
    ├── UnknownModel                   5   404   no model of that name, version or alias
    ├── BundleError                    5   500   a bundle that cannot be read
    │   └── IntegrityError             5   500   a digest or golden output that does not match
    ├── MissingExtra                   6   501   an optional part that is not installed
    ├── DownloadError                  6   502   a pretrained model that could not be fetched
    ├── TrainingError                  7   500   training that cannot go on
    ├── ServiceError                   8   500   the service itself
    │   ├── Busy                       8   429   every queue place is taken; try again later
    │   └── TimedOut                   8   504   took longer than the settings allow
    └── Cancelled                    130   499   the caller went away

Each error says what was found, what was expected and what to do next. ``exit_code`` and
``status`` are the only mapping to processes and to HTTP; exit code 1 is left to the unforeseen.
"""

import re
from functools import partial
from typing import Any, ClassVar


class AimassError(Exception):
    """An error with a cause a person can act on.

    Args:
        found: what was met, with the value where it is short.
        expected: what would have been right.
        fix: what to do or type next.
        param: the request field, option or key at fault.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def __init__(self, found: str, *, expected: str, fix: str, param: str | None = None) -> None:
        self.found = found.rstrip(".")
        self.expected = expected.rstrip(".")
        self.fix = fix.rstrip(".")
        self.param = param
        super().__init__(f"{self.found}. Expected {self.expected}. {self.fix}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """How an error reaches the process that waits for the one where it arose."""
        make = partial(type(self), expected=self.expected, fix=self.fix, param=self.param)
        return make, (self.found,)

    @property
    def code(self) -> str:
        """The class name as a stable word for programs, such as ``truncated_audio``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def type(self) -> str:
        """The kind of error in the words of the OpenAI API."""
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def problem(self) -> dict[str, dict[str, str | None]]:
        """The one error shape of the service: ``{error: {message, type, param, code}}``."""
        return {
            "error": {
                "message": str(self),
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class AudioError(AimassError):
    """The sound itself is at fault."""

    exit_code = 3
    status = 400


class AudioNotFound(AudioError):
    """No file stands at the path."""

    status = 404


class EmptyAudio(AudioError):
    """No bytes, or a container without samples."""


class NotAudio(AudioError):
    """Bytes that begin like no container we read."""

    status = 415


class CorruptAudio(AudioError):
    """A known container whose content does not decode."""


class TruncatedAudio(AudioError):
    """A container that ends before its header says."""


class SilentAudio(AudioError):
    """Nothing but digital silence: a muted microphone or a lost channel."""


class InvalidSamples(AudioError):
    """Samples that are NaN or infinite."""


class UnsupportedRate(AudioError):
    """A sample rate outside 8 to 48 kHz."""


class UnsupportedChannels(AudioError):
    """No channel at all, or more than we mix."""


class AudioTooLarge(AudioError):
    """More bytes, seconds or expansion than the settings allow."""

    status = 413


class RequestError(AimassError):
    """A field of a request, or an option of a command, is wrong."""

    exit_code = 2
    status = 400


class ScenarioError(AimassError):
    """The scenario file is wrong."""

    exit_code = 4
    status = 400


class DataError(AimassError):
    """A data folder or a manifest is wrong."""

    exit_code = 4
    status = 400


class FeatureError(AimassError):
    """The values of a front end do not fit each other, or no front end has them."""

    exit_code = 4
    status = 400


class UnknownModel(AimassError):
    """No model, version or alias of that name."""

    exit_code = 5
    status = 404


class BundleError(AimassError):
    """A bundle that cannot be read."""

    exit_code = 5


class IntegrityError(BundleError):
    """A digest or a golden output that does not match."""


class MissingExtra(AimassError):
    """An optional part is not installed."""

    exit_code = 6
    status = 501


class DownloadError(AimassError):
    """A pretrained model could not be fetched."""

    exit_code = 6
    status = 502


class TrainingError(AimassError):
    """Training cannot go on."""

    exit_code = 7


class ServiceError(AimassError):
    """The service itself is at fault."""

    exit_code = 8


class Busy(ServiceError):
    """Every place in the queue is taken.

    Args:
        retry_after: seconds after which a new try is likely to succeed.
    """

    status = 429

    def __init__(self, found: str, *, expected: str, fix: str, retry_after: int = 1) -> None:
        super().__init__(found, expected=expected, fix=fix)
        self.retry_after = retry_after


class TimedOut(ServiceError):
    """Took longer than the settings allow."""

    status = 504


class Cancelled(AimassError):
    """The caller went away before the answer was ready."""

    exit_code = 130
    status = 499
