"""What a sweep is: the whole of one YAML file, as frozen pydantic models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from chemprop_hpo.configs.parameters import (
    Choice,
    Fixed,
    IntRange,
    LogUniform,
    Parameter,
    Uniform,
)
from chemprop_hpo.configs.section import (
    Float,
    Int,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
    Value,
)

__all__ = [
    "AtomFeatures",
    "Choice",
    "Criterion",
    "DataConfig",
    "Fixed",
    "Head",
    "IntRange",
    "LogUniform",
    "MlflowConfig",
    "ModelConfig",
    "MoleculeFeature",
    "OptimizationConfig",
    "Parameter",
    "PromotionConfig",
    "RayConfig",
    "ResourcesConfig",
    "SamplerConfig",
    "SchedulerConfig",
    "Section",
    "SplitConfig",
    "StudyConfig",
    "SweepConfig",
    "TransferLearningConfig",
    "Transform",
    "Uniform",
    "Value",
]

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


def _refuse_beyond_32_bits(seed: int) -> int:
    if seed >= 2**32:
        raise ValueError(f"must be below {2**32}, not {seed}")
    return seed


Seed = Annotated[Int, Field(ge=0), AfterValidator(_refuse_beyond_32_bits)]
"""What both NumPy's generators and Optuna's samplers take."""


class DataConfig(Section):
    """Where the molecules and their labels are: a folder of fixed folds, or one table."""

    data_dir: Path | None = None
    """Folder of one fold, .../split_0/fold_0, with train.csv and validation.csv."""
    file: Path | None = None
    """One CSV file with all molecules, cut into parts as `split` says."""
    test_file: Path | None = None
    """CSV file with molecules that no sweep looks at; ensembles are scored on it."""
    blind_file: Path | None = None
    """CSV file with molecules that are predicted and never scored."""
    smiles_col: str = "smiles"
    """Column of the SMILES."""
    target_cols: tuple[str, ...] = Field(min_length=1)
    """Columns of the labels; an empty cell is a missing label."""
    target_weights: tuple[PositiveFloat, ...] | None = None
    """Weight of each target in the loss, in the order of target_cols."""
    target_transforms: tuple[Transform, ...] | dict[str, Transform] | None = None
    """Transform of each target: a list in the order of target_cols, or a mapping by column."""
    target_units: tuple[str, ...] | dict[str, str] | None = None
    """Unit of each target, for people: a list in the order of target_cols, or a mapping."""
    output_dir: Path | None = None
    """Folder that holds the study's folder; `studies` if not given."""
    allow_duplicates: bool = False
    """Whether a molecule may stand in two of the parts that you made."""
    max_unreadable_share: Float = Field(0.01, ge=0, lt=1)
    """Share of SMILES that may be unreadable; more than that is an error."""

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each target, in the order of ``target_cols``."""
        if isinstance(self.target_transforms, dict):
            return tuple(self.target_transforms.get(t, "none") for t in self.target_cols)
        plain: Transform = "none"
        return self.target_transforms or (plain,) * len(self.target_cols)

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each target, in the order of ``target_cols``; empty where none is given."""
        if isinstance(self.target_units, dict):
            return tuple(self.target_units.get(t, "") for t in self.target_cols)
        return self.target_units or ("",) * len(self.target_cols)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each target, normalised to a mean of one."""
        raw = self.target_weights or (1.0,) * len(self.target_cols)
        mean = sum(raw) / len(raw)
        return tuple(w / mean for w in raw)


class SplitConfig(Section):
    """How one table is cut into parts; test rows are set aside first."""

    method: Literal["random", "scaffold", "kmeans", "column"] = "random"
    """How molecules are dealt out; `column` reads the part from a column of the table."""
    test_fraction: Float = Field(0.1, ge=0, lt=1)
    """Share of the molecules set aside as the test set."""
    val_fraction: Float | None = Field(None, gt=0, lt=1)
    """Share of the molecules that validates; 0.1 unless n_folds is given."""
    n_splits: PositiveInt = 1
    """Number of splits, each dealt out with its own seed; a sweep uses the first."""
    n_folds: Int | None = Field(None, ge=2)
    """Number of cross-validation folds, in place of val_fraction; a sweep uses the first."""
    seed: Int | None = None
    """Seed of the split; the sweep's seed if not given."""
    column: str | None = None
    """Column that names each row's part, with method: column."""

    @model_validator(mode="before")
    @classmethod
    def _tenth_validates(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("val_fraction") is None and values.get("n_folds") is None:
            return {**values, "val_fraction": 0.1}
        return values


class ModelConfig(Section):
    """The architecture: message passing, aggregation and head."""

    depth: PositiveInt = 3
    """Message passing steps."""
    message_hidden_dim: PositiveInt = 300
    """Width of the messages."""
    num_layers: PositiveInt = 1
    """Hidden layers of the head."""
    hidden_dim: PositiveInt = 300
    """Width of the head's hidden layers."""
    dropout: Float = Field(0.0, ge=0, lt=1)
    """Share of units dropped in training."""
    batch_norm: bool = False
    """Whether the molecule's vector is batch-normalised."""
    ffn_type: Head = "regression"
    """The head: one network, one branch a target on a shared trunk, or a mixture of experts."""
    trunk_n_layers: PositiveInt = 2
    """Layers of the shared trunk of the branched head."""
    trunk_hidden_dim: PositiveInt = 300
    """Width of the shared trunk of the branched head."""
    n_experts: Int = Field(4, ge=2)
    """Experts of the mixture_of_experts head."""
    message_passing: Literal["bond", "atom"] = "bond"
    """Whether messages travel along bonds or between atoms."""
    message_bias: bool = False
    """Whether message passing has bias terms."""
    undirected: bool = False
    """Whether both directions of a bond share their message."""
    aggregation: Literal["mean", "sum", "norm"] = "mean"
    """How atoms are pooled into a molecule."""
    aggregation_norm: PositiveFloat = 100.0
    """Divisor of aggregation: norm."""
    activation: Literal["RELU", "LEAKYRELU", "PRELU", "TANH", "ELU"] = "RELU"
    """Activation function."""
    atom_features: AtomFeatures = "V2"
    """Atom featurizer."""
    molecule_features: str = "none"
    """``none``, or names of molecule features joined by ``+``."""

    @field_validator("molecule_features")
    @classmethod
    def _known_molecule_features(cls, value: str) -> str:
        names = value.split("+")
        known = get_args(MoleculeFeature)
        strange = [name for name in names if name not in known]
        if value != "none" and strange:
            raise ValueError(
                f"has {strange[0]!r}; write none, or some of {', '.join(known)} joined by +"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"names a feature twice: {value}")
        return value

    @property
    def molecule_feature_names(self) -> tuple[MoleculeFeature, ...]:
        """The molecule features one by one, in the order given."""
        if self.molecule_features == "none":
            return ()
        return tuple(self.molecule_features.split("+"))  # type: ignore[arg-type]  # checked above


class OptimizationConfig(Section):
    """How a model is trained."""

    criterion: Criterion = "MSE"
    """Loss of a regression; a classification uses binary cross-entropy."""
    init_lr: PositiveFloat = 1e-4
    """Learning rate at the start of the warm-up."""
    max_lr: PositiveFloat = 1e-3
    """Highest learning rate, at the end of the warm-up."""
    final_lr: PositiveFloat = 1e-4
    """Learning rate at the last epoch."""
    init_lr_ratio: PositiveFloat | None = None
    """init_lr as a multiple of max_lr, in place of init_lr."""
    final_lr_ratio: PositiveFloat | None = None
    """final_lr as a multiple of max_lr, in place of final_lr."""
    lr: PositiveFloat | None = None
    """One learning rate, held constant over training; excludes the other five."""
    warmup_epochs: Int = Field(2, ge=0)
    """Epochs from init_lr to max_lr."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of AdamW, on weights and not on biases."""
    gradient_clip: PositiveFloat | None = None
    """Largest norm of the gradient."""
    patience: PositiveInt | None = None
    """Epochs without improvement after which a trial ends by itself."""
    max_epochs: PositiveInt | None = None
    """Epochs that a trial may train; the same as scheduler.max_t."""
    batch_size: PositiveInt = 64
    """Molecules in a batch."""
    num_workers: Int = Field(0, ge=0)
    """Has no effect: batches are cut from memory, no process loads data. Kept for older files."""
    seed: Seed | None = None
    """The same as the sweep's `seed`, if given."""
    progress_bar: bool = False
    """Has no effect: the sweep has one display for all trials. Kept for older files."""

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
    """Name of the study; the file's name without its ending if not given."""
    storage: str = "sqlite:///studies.db"
    """Database URL, sqlite:///FILE or postgresql+psycopg://USER:${oc.env:PGPASSWORD}@HOST/DB."""
    folder: Path | None = None
    """Folder for checkpoints and results; studies/NAME if not given."""
    outage_limit_s: PositiveFloat = 600.0
    """Seconds that the database may be away; trials go on meanwhile, then the sweep stops."""

    @field_validator("name")
    @classmethod
    def _can_name_a_folder(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not name.strip() or set(name) & set("/\\\0\n") or name in (".", ".."):
            raise ValueError(f"is {name!r}; it names a folder, so write it without / and \\")
        return name


class SamplerConfig(Section):
    """Who suggests the next configuration."""

    type: Literal["tpe", "random", "grid"] = "tpe"
    """tpe learns from finished trials, random does not, grid tries each point once."""
    n_startup_trials: PositiveInt = 10
    """Random trials before tpe begins to learn."""
    n_ei_candidates: PositiveInt = 24
    """Candidates that tpe draws for each suggestion."""


class SchedulerConfig(Section):
    """Who stops a trial early; epochs are the unit of time."""

    type: Literal["asha", "none"] = "asha"
    """asha stops bad trials at its rungs; none lets each trial train to the end."""
    max_t: PositiveInt | None = None
    """Epochs that a trial may train; optimization.max_epochs, or 150, if not given."""
    grace_period: PositiveInt = 10
    """Epochs that each trial may train before it can be stopped."""
    reduction_factor: Float = Field(3, gt=1)
    """One in so many trials goes on at each rung."""
    brackets: PositiveInt = 1
    """Number of brackets, each with a longer grace period."""


class ResourcesConfig(Section):
    """What one trial takes, and how many run at once."""

    gpus_per_trial: NonNegativeFloat = 0.0
    """GPUs of one trial; 0.25 lets four trials share one."""
    cpus_per_trial: PositiveInt = 1
    """CPUs, and threads, of one trial."""
    max_concurrent_trials: PositiveInt | None = None
    """Trials that may run at once; as many as fit if not given."""


class TransferLearningConfig(Section):
    """Whether a sweep goes on to ensembles of its best configurations."""

    enabled: bool = False
    """Whether the sweep goes on to ensembles."""
    top_k: PositiveInt = 3
    """Number of best configurations that are kept."""
    train_full_cv: bool = True
    """Whether to train on all splits and folds, or only on the sweep's own."""
    ensemble_splits: tuple[Int, ...] | None = None
    """Splits to train on; all if not given."""
    ensemble_folds: tuple[Int, ...] | None = None
    """Folds to train on; all if not given."""


class MlflowConfig(Section):
    """Where runs are logged."""

    tracking: bool = True
    """Whether runs are logged to MLflow."""
    tracking_uri: str = "sqlite:///mlflow.db"
    """MLflow's tracking server or database."""
    experiment_name: str = "chemprop_hpo"
    """MLflow experiment."""
    artifact_location: str | None = None
    """Folder or URL such as s3://bucket/path for the artifacts of a new experiment; beside an
    SQLite file, or the server's own, if not given."""
    run_name: str | None = None
    """Name of the sweep's own run; the study's name if not given."""


class RayConfig(Section):
    """Which Ray cluster runs the trials: an existing one, or a private local one."""

    address: str | None = None
    """Address of an existing cluster, or auto; a private local one if not given."""


class PromotionConfig(Section):
    """When a model replaces the one in use."""

    registry: str | None = None
    """Name of the registered model in MLflow; the study's name if not given."""
    ledger: str | None = None
    """Database URL of the promotion history; a file beside MLflow's if not given."""
    max_generalisation_gap: PositiveFloat = 0.25
    """Largest validation minus training RMSE, in standard deviations of the training labels."""
    val_r2_tolerance: NonNegativeFloat = 0.05
    """Share of the best validation R2 that may be lacking."""
    min_test_rmse_improvement: Float = Field(0.01, ge=0, lt=1)
    """Test RMSE must fall by at least this share."""
    max_test_mae_regression: NonNegativeFloat = 0.05
    """Test MAE, of each target, may rise by at most this share."""
    min_probability: Float | None = Field(None, gt=0, le=1)
    """Least probability that the new model is better, by paired bootstrap; none if not given."""
    allow_dirty: bool = False
    """Whether a model may be promoted that was trained on code with uncommitted changes."""
    max_monitored_regression: NonNegativeFloat = 0.10
    """RMSE on fresh labels may exceed the test RMSE by at most this share."""
    min_monitored_rows: PositiveInt = 20
    """Fewer freshly labelled molecules than this never speak for a rollback."""

    @field_validator("registry")
    @classmethod
    def _can_name_a_registered_model(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not name.strip() or set(name) & set("/:") or name == "." or name.startswith(".."):
            raise ValueError(f"is {name!r}; MLflow names a model in words without / and :")
        return name


class SweepConfig(Section):
    """One sweep: data, model, search space and how it runs."""

    data: DataConfig
    """Where the molecules and their labels are."""
    split: SplitConfig | None = None
    """How data.file is cut into parts; not with data.data_dir."""
    task: Literal["regression", "classification"] = "regression"
    """What the labels are: numbers, or 0 and 1."""
    model: ModelConfig = ModelConfig()
    """The base architecture; search_space overrides it."""
    optimization: OptimizationConfig = OptimizationConfig()
    """The base training; search_space overrides it."""
    search_space: dict[str, Parameter] = Field(default_factory=dict)
    """What is searched: names of model and optimization keys, each with its range."""
    base: bool = True
    """Whether model and optimization, as written, are the first trial."""
    enqueue: tuple[dict[str, Value], ...] = ()
    """Configurations to try first; searched parameters that one leaves out are sampled."""
    sampler: SamplerConfig = SamplerConfig()
    """Who suggests the next configuration."""
    scheduler: SchedulerConfig = SchedulerConfig()
    """Who stops a trial early."""
    resources: ResourcesConfig = ResourcesConfig()
    """What one trial takes, and how many run at once."""
    study: StudyConfig = StudyConfig()
    """What the study is called and where it is kept."""
    mlflow: MlflowConfig = MlflowConfig()
    """Where runs are logged."""
    transfer_learning: TransferLearningConfig = TransferLearningConfig()
    """Whether the sweep goes on to ensembles of its best configurations."""
    promotion: PromotionConfig = PromotionConfig()
    """When a model replaces the one in use."""
    ray: RayConfig = RayConfig()
    """Which Ray cluster runs the trials."""
    num_samples: PositiveInt = 100
    """Number of trials in the study, base and enqueued ones included."""
    time_budget_s: PositiveFloat | None = None
    """Seconds after which the sweep stops; it can be resumed."""
    checkpoint_every_s: NonNegativeFloat = 10.0
    """Least seconds between two checkpoints of a trial."""
    seed: Seed = 0
    """Seed of the whole sweep."""
    metric: str = "val_loss"
    """What is optimised, such as val_loss, val_rmse or val_r2/COLUMN."""
    mode: Literal["min", "max"] = "min"
    """Whether a lower or a higher metric is better; follows the metric if not given."""

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
