"""Every rule."""

from typing import Final

from infra.policy import access, encryption, exposure, keeping, tasks, watching
from infra.policy.model import Rule

THEMES: Final = {
    "Encryption": encryption.RULES,
    "Exposure": exposure.RULES,
    "Permissions": access.RULES,
    "Keeping": keeping.RULES,
    "Tasks and images": tasks.RULES,
    "Watching": watching.RULES,
}
ALL: Final[tuple[Rule, ...]] = tuple(rule for rules in THEMES.values() for rule in rules)
