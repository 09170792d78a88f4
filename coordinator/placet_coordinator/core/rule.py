"""A broken rule of the wire: which field, which rule, which limit."""


class RuleBroken(ValueError):
    """A well-formed request breaks a rule; nothing has happened. The edge answers 422 with these three members.

    Attributes:
        field: the request's field, as a path such as `branches[0].target`.
        rule: the rule in words, with the remedy.
        limit: the figure that the rule names, if any.
    """

    def __init__(self, field: str, rule: str, limit: int | None = None) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule
        self.limit = limit
