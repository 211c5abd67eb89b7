"""Overrides of the configuration on the command line: `--search.epochs 3`."""

from collections.abc import Iterator

from jdarts.commands.arguments import Parser, load_experiment
from jdarts.commands.bench import KINDS


def print_help(command: Parser, rest: list[str]) -> int:
    """Print the help of a command, with the values of the configuration if `rest` names one."""
    from jdarts.config.files import describe_options

    fixed, overrides = split_overrides(command, [token for token in rest if token not in ("-h", "--help")])
    print(command.format_help())
    given = dict(_options(command, fixed))
    config = next((value for option, value in given.items() if option == value and value not in KINDS), None)
    if config is not None:
        if "--space" in given:
            overrides.append(f"--space.name={given['--space']}")
        experiment, note = load_experiment(config, overrides, method=given.get("--method"))
        values = f"the values of {config}{' and ' if note else ''}{note}"
        print(f"overrides, with {values}:\n\n{describe_options(experiment)}")
    return 0


def _options(command: Parser, fixed: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of an option and its value; an argument that belongs to no option is paired with itself."""
    takes_value = {option for action in command._actions for option in action.option_strings if action.nargs != 0}
    remaining = iter(fixed)
    for token in remaining:
        option, has_value, value = token.partition("=")
        if not token.startswith("-"):
            yield token, token
        elif option in takes_value:
            yield option, value if has_value else next(remaining, "")


def split_overrides(command: Parser, tokens: list[str]) -> tuple[list[str], list[str]]:
    """Separates the command's own arguments from overrides (`--a.b value` or `--a.b=value`)."""
    from jdarts.config.files import option_types, unknown_option

    own = {option: action.nargs != 0 for action in command._actions for option in action.option_strings}
    known = option_types()
    fixed, overrides = [], []
    remaining = iter(tokens)
    for token in remaining:
        option, has_value, _ = token.partition("=")
        if not token.startswith("--") or option in own:
            target, takes_value = fixed, own.get(option, False)
        elif "." in option or option[2:] in known:
            target, takes_value = overrides, True
        else:
            raise unknown_option(option, [*(name[2:] for name in own if name.startswith("--")), *known])
        target.append(token)
        if takes_value and not has_value:
            target.extend(value for value in [next(remaining, None)] if value is not None)
    return fixed, overrides
