"""Mobile networks for tests."""

from jdarts.genotypes import MobileArchitecture, parse_architecture


def mobile(text: str) -> MobileArchitecture:
    """The mobile network that a text denotes."""
    found = parse_architecture(text)
    assert isinstance(found, MobileArchitecture)
    return found
