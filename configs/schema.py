"""What a sweep is: the whole of one YAML file, as frozen pydantic models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

Value = bool | int | float | str
"""A hyperparameter's value as Optuna can store it."""

Head = Literal["regression", "mixture_of_experts", "branched"]
Criterion = Literal["MSE", "MAE", "RMSE"]
Transform = Literal["none", "log10", "log10p1"]
AtomFeatures = Literal["V1", "V2", "ORGANIC", "RIGR"]
MoleculeFeature = Literal[
    "morgan_binary",
    "morgan_count",
    "rdkit_2d",
    "v1_rdkit_2d",
    "v1_rdkit_2d_normalized",
    "charge",
]


class Section(BaseModel):
    """A part of the file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ----------------------------------------------------------------------------- search space


class _Conditional(Section):
    condition: str | None = None


class Uniform(_Conditional):
    """A float between ``low`` and ``high``, on a grid of ``step`` if given."""

    type: Literal["uniform"] = "uniform"
    low: float
    high: float
    step: PositiveFloat | None = Field(None, alias="q")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LogUniform(_Conditional):
    """A positive float, uniform in its logarithm."""

    type: Literal["loguniform"] = "loguniform"
    low: PositiveFloat
    high: PositiveFloat


class IntRange(_Conditional):
    """An integer from ``low`` to ``high``, both included."""

    type: Literal["randint"] = "randint"
    low: int
    high: int
    step: PositiveInt = Field(1, alias="q")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Choice(_Conditional):
    """One of the listed values."""

    type: Literal["choice"] = "choice"
    choices: tuple[Value, ...] = Field(min_length=1)


class Fixed(_Conditional):
    """A value that is not searched."""

    type: Literal["fixed"] = "fixed"
    value: Value


Parameter = Annotated[
    Uniform | LogUniform | IntRange | Choice | Fixed, Field(discriminator="type")
]


# ----------------------------------------------------------------------------- what is trained


class DataConfig(Section):
    """Where the molecules and their labels are."""

    data_dir: Path | None = None
    file: Path | None = None
    test_file: Path | None = None
    blind_file: Path | None = None
    smiles_col: str = "smiles"
    target_cols: tuple[str, ...] = Field(min_length=1)
    target_weights: tuple[PositiveFloat, ...] | None = None
    target_transforms: tuple[Transform, ...] | dict[str, Transform] | None = None
    output_dir: Path | None = None
    allow_duplicates: bool = False
    max_unreadable_share: float = Field(0.01, ge=0, lt=1)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each target, in the order of ``target_cols``."""
        if isinstance(self.target_transforms, dict):
            return tuple(self.target_transforms.get(t, "none") for t in self.target_cols)
        return self.target_transforms or ("none",) * len(self.target_cols)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each target, normalised to a mean of one."""
        raw = self.target_weights or (1.0,) * len(self.target_cols)
        mean = sum(raw) / len(raw)
        return tuple(w / mean for w in raw)


class SplitConfig(Section):
    """How one table is cut into parts; test rows are set aside first."""

    method: Literal["random", "scaffold", "kmeans", "column"] = "random"
    test_fraction: float = Field(0.1, ge=0, lt=1)
    val_fraction: float | None = Field(None, gt=0, lt=1)
    n_splits: PositiveInt = 1
    n_folds: int | None = Field(None, ge=2)
    seed: int | None = None
    column: str | None = None


class ModelConfig(Section):
    """The architecture: message passing, aggregation and head."""

    depth: PositiveInt = 3
    message_hidden_dim: PositiveInt = 300
    num_layers: PositiveInt = 1
    hidden_dim: PositiveInt = 300
    dropout: float = Field(0.0, ge=0, lt=1)
    batch_norm: bool = False
    ffn_type: Head = "regression"
    trunk_n_layers: PositiveInt = 2
    trunk_hidden_dim: PositiveInt = 300
    n_experts: int = Field(4, ge=2)
    message_passing: Literal["bond", "atom"] = "bond"
    message_bias: bool = False
    undirected: bool = False
    aggregation: Literal["mean", "sum", "norm"] = "mean"
    aggregation_norm: PositiveFloat = 100.0
    activation: Literal["RELU", "LEAKYRELU", "PRELU", "TANH", "ELU"] = "RELU"
    atom_features: AtomFeatures = "V2"
    molecule_features: str = "none"
    """``none``, or names of molecule features joined by ``+``."""

    @property
    def molecule_feature_names(self) -> tuple[MoleculeFeature, ...]:
        """The molecule features one by one, in the order given."""
        if self.molecule_features == "none":
            return ()
        return tuple(self.molecule_features.split("+"))  # type: ignore[return-value]  # checked on load


class OptimizationConfig(Section):
    """How a model is trained."""

    criterion: Criterion = "MSE"
    init_lr: PositiveFloat = 1e-4
    max_lr: PositiveFloat = 1e-3
    final_lr: PositiveFloat = 1e-4
    init_lr_ratio: PositiveFloat | None = None
    final_lr_ratio: PositiveFloat | None = None
    lr: PositiveFloat | None = None
    """One learning rate, held constant over training; excludes the other five."""
    warmup_epochs: int = Field(2, ge=0)
    weight_decay: NonNegativeFloat = 0.0
    gradient_clip: PositiveFloat | None = None
    patience: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    batch_size: PositiveInt = 64
    num_workers: int = Field(0, ge=0)
    seed: int | None = None
    progress_bar: bool = False

    @property
    def learning_rates(self) -> tuple[float, float, float]:
        """Initial, highest and final learning rate, with ratios resolved."""
        if self.lr is not None:
            return self.lr, self.lr, self.lr
        init = self.init_lr if self.init_lr_ratio is None else self.init_lr_ratio * self.max_lr
        final = self.final_lr if self.final_lr_ratio is None else self.final_lr_ratio * self.max_lr
        return init, self.max_lr, final


# ----------------------------------------------------------------------------- how it is searched


class StudyConfig(Section):
    """What the study is called and where it is kept."""

    name: str | None = None
    storage: str = "sqlite:///studies.db"
    folder: Path | None = None


class SamplerConfig(Section):
    """Who suggests the next configuration."""

    type: Literal["tpe", "random", "grid"] = "tpe"
    n_startup_trials: PositiveInt = 10
    n_ei_candidates: PositiveInt = 24


class SchedulerConfig(Section):
    """Who stops a trial early; epochs are the unit of time."""

    type: Literal["asha", "none"] = "asha"
    max_t: PositiveInt | None = None
    grace_period: PositiveInt = 10
    reduction_factor: float = Field(3, gt=1)
    brackets: PositiveInt = 1


class ResourcesConfig(Section):
    """What one trial takes, and how many run at once."""

    gpus_per_trial: NonNegativeFloat = 0.0
    cpus_per_trial: PositiveInt = 1
    max_concurrent_trials: PositiveInt | None = None


class TransferLearningConfig(Section):
    """Whether a sweep goes on to ensembles of its best configurations."""

    enabled: bool = False
    top_k: PositiveInt = 3
    train_full_cv: bool = True
    ensemble_splits: tuple[int, ...] | None = None
    ensemble_folds: tuple[int, ...] | None = None


class MlflowConfig(Section):
    """Where runs are logged."""

    tracking: bool = True
    tracking_uri: str = "sqlite:///mlflow.db"
    experiment_name: str = "chemprop_hpo"
    run_name: str | None = None


class RayConfig(Section):
    """Which Ray cluster runs the trials: an existing one, or a private local one."""

    address: str | None = None


class PromotionConfig(Section):
    """When a model replaces the one in use."""

    ledger: str | None = None
    max_generalisation_gap: PositiveFloat = 0.25
    val_r2_tolerance: NonNegativeFloat = 0.05
    min_test_rmse_improvement: NonNegativeFloat = 0.01
    max_test_mae_regression: NonNegativeFloat = 0.05


class SweepConfig(Section):
    """One sweep: data, model, search space and how it runs."""

    data: DataConfig
    split: SplitConfig | None = None
    task: Literal["regression", "classification"] = "regression"
    model: ModelConfig = ModelConfig()
    optimization: OptimizationConfig = OptimizationConfig()
    search_space: dict[str, Parameter] = Field(default_factory=dict)
    base: bool = True
    enqueue: tuple[dict[str, Value], ...] = ()
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    study: StudyConfig = StudyConfig()
    mlflow: MlflowConfig = MlflowConfig()
    transfer_learning: TransferLearningConfig = TransferLearningConfig()
    promotion: PromotionConfig = PromotionConfig()
    ray: RayConfig = RayConfig()
    num_samples: PositiveInt = 100
    time_budget_s: PositiveFloat | None = None
    checkpoint_every_s: NonNegativeFloat = 10.0
    seed: int = 0
    metric: str = "val_loss"
    mode: Literal["min", "max"] = "min"

    @property
    def max_epochs(self) -> int:
        """Epochs that a trial may train: ``scheduler.max_t``, or ``optimization.max_epochs``."""
        return self.scheduler.max_t or self.optimization.max_epochs or 150

    @property
    def study_name(self) -> str:
        """The name of the study; the loader gives it the file's stem where none is written."""
        return self.study.name or "sweep"

    @property
    def study_folder(self) -> Path:
        """Where checkpoints and results of the study live."""
        return self.study.folder or (self.data.output_dir or Path("studies")) / self.study_name

    def with_params(self, params: dict[str, Any]) -> Self:
        """Return this config with the values of one trial in ``model`` and ``optimization``.

        Parameters
        ----------
        params : dict
            Suggested values by hyperparameter name. Names of untaken branches are absent and
            keep their base value, which the taken head ignores.
        """
        model = ModelConfig.model_validate(_updated(self.model, params))
        optimization = OptimizationConfig.model_validate(_updated(self.optimization, params))
        return self.model_copy(update={"model": model, "optimization": optimization})


def _updated(section: Section, params: dict[str, Any]) -> dict[str, Any]:
    mine = {name: value for name, value in params.items() if name in type(section).model_fields}
    return section.model_dump() | mine
