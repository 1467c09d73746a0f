"""The command `orchestrator`, and `python -m orchestrator`."""


def main() -> None:
    """Runs the command line. Imported late, so that `--help` of a broken part still names it."""
    from orchestrator.main import run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
