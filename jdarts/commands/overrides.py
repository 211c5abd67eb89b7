"""Overrides of the configuration on the command line: `--search.epochs 3`."""

from jdarts.commands.arguments import Parser, load_experiment


def print_help(command: Parser, rest: list[str]) -> int:
    """Print the help of a command, with the values of the configuration if `rest` names one."""
    from jdarts.config.files import describe_options

    fixed, _ = split_overrides(command, [token for token in rest if token not in ("-h", "--help")])
    print(command.format_help())
    config = next((token for token in fixed if not token.startswith("-") and token != "hypergrad"), None)
    if config is not None:
        print(f"overrides, with the values of {config}:\n\n{describe_options(load_experiment(config)[0])}")
    return 0


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
