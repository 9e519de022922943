"""What fails beside a run is told after its verdict, which counts for more."""

from harness.errors import HarnessError


class AfterVerdict:
    """A context: what fails beside a run, or while it is ended, is told after its verdict."""

    def __init__(self) -> None:
        self.error: HarnessError | None = None
        self.is_reached = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if self.is_reached and isinstance(error, HarnessError):
            self.error = error
            return True
        return False

    def raise_beside(self, verdict_code: int) -> None:
        """Now, if anything failed."""
        if self.error is not None:
            raise self.error.beside(verdict_code)
