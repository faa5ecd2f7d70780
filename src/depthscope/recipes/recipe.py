"""A complete training run as a value."""

from dataclasses import dataclass, field, replace

from depthscope.errors import BadInputError
from depthscope.networks import NetworkOptions
from depthscope.objectives import Siamese, ViewSynthesis
from depthscope.supervision import Supervision
from depthscope.training import Augmentation, SnippetAugmentation, Training


@dataclass(frozen=True)
class Recipe:
    """A complete training run as a value.

    Attributes:
        name: What it is called.
        network: Options of the network; any `NetworkOptions` plugs in.
        objective: What is asked of the depth maps.
        supervision: How sequences become supervision.
        augmentation: What the network sees of a frame.
        training: How it is trained.
        start: A run whose weights the network begins with, or "shipped" for those that come with this package; the
            network is then of that run. "" begins with random weights.
    """

    name: str
    network: NetworkOptions
    objective: Siamese | ViewSynthesis = field(default_factory=Siamese)
    supervision: Supervision = field(default_factory=Supervision)
    augmentation: Augmentation | SnippetAugmentation = field(default_factory=Augmentation)
    training: Training = field(default_factory=Training)
    start: str = ""

    def __post_init__(self) -> None:
        by_pairs = isinstance(self.objective, Siamese)
        if by_pairs != isinstance(self.augmentation, Augmentation):
            raise BadInputError(
                f"objective {type(self.objective).__name__} with {type(self.augmentation).__name__}",
                f"{(Augmentation if by_pairs else SnippetAugmentation).__name__} for this objective",
                "name the type of the augmentation",
            )


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with another number of steps, and logs and validations no rarer than the run is long."""
    if steps is None:
        return recipe
    training = replace(
        recipe.training,
        steps=steps,
        validate_every=min(recipe.training.validate_every, max(1, steps)),
        save_every=min(recipe.training.save_every, max(1, steps)),
    )
    return replace(recipe, training=training)
