"""One training on several devices of one host, or of several hosts, by tf.distribute.

Every device computes the losses of its equal share of the global minibatch; gradients are added up
over all devices, and every copy of a weight gets the same update. What a step computes does not
depend on how many devices share it, up to rounding and to the minibatch standard deviation, whose
groups lie within a device, as in the original.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from medsynth.errors import DistributionError, UsageError

_LOST_PEER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)


@dataclass(frozen=True)
class Distribution:
    """The devices that share a training.

    Attributes:
        strategy: How TensorFlow keeps them alike.
        num_workers: Processes; more than one where hosts work together.
        worker: Number of this process, from 0.
    """

    strategy: tf.distribute.Strategy
    num_workers: int = 1
    worker: int = 0

    @property
    def num_replicas(self) -> int:
        """Devices over all processes; each takes an equal share of the minibatch."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files; exactly one does."""
        return self.worker == 0

    def describe(self) -> str:
        """Return the devices in words."""
        kinds = sorted({tf.DeviceSpec.from_string(name).device_type for name in self.strategy.extended.worker_devices})
        devices = f"{self.num_replicas} {'/'.join(kind or 'device' for kind in kinds)} device(s)"
        return devices if self.num_workers == 1 else f"{devices} of {self.num_workers} processes"

    def agree(self, value: float) -> float:
        """Return the chief's `value` in every process; all must call it at the same point."""
        if self.num_workers == 1:
            return value
        number_of = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                value if self.is_chief and context.replica_id_in_sync_group == 0 else 0.0, tf.float64
            )
        )
        return float(_total(self.strategy, number_of))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the loss of another process into an error that says so.

        Raises:
            DistributionError: Another process of this training died or cannot be reached.
        """
        try:
            yield
        except _LOST_PEER as error:
            if self.num_workers == 1:
                raise
            names = sorted({f"worker {task}" for task in re.findall(r"/job:worker/replica:0/task:(\d+)", str(error))})
            lost = [name for name in names if name != f"worker {self.worker}"]
            lines = [line.strip() for line in str(error).splitlines()]
            # The first line of a failed graph only says that a graph failed.
            telling = [line for line in lines if line and line != "Graph execution error:"]
            raise DistributionError(
                f"Worker {self.worker} stopped because {' or '.join(lost) or 'another worker'} of this training died "
                "or cannot be reached. Start all of them again with the same command: they go on from the last saved "
                "state.",
                received=(telling or [type(error).__name__])[0][:200],
            ) from None


@tf.function(autograph=False)
def _total(strategy: tf.distribute.Strategy, values: Any) -> tf.Tensor:
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


def available_devices(num_wanted: int) -> int:
    """Return how many devices a training can be shared by here.

    Args:
        num_wanted: Devices that its schedule is for.

    Returns:
        The GPUs of this machine (1 without any). Where processes work together, the devices of all.

    Raises:
        UsageError: TF_CONFIG cannot be read, or the processes have other devices in all than are wanted.
    """
    cluster = _cluster(num_wanted)
    num_local = max(len(tf.config.list_physical_devices("GPU")), 1)
    available = cluster.num_workers * num_local
    if cluster.num_workers > 1 and available != num_wanted:
        raise UsageError(
            f"The {cluster.num_workers} processes of the cluster have {available} devices; --set "
            f"schedule.num_gpus={available} shares the training among them (docs/distribution.md).",
            received=f"schedule.num_gpus={num_wanted}",
        )
    return available


def start_distribution(num_devices: int) -> Distribution:
    """Set up the devices of a training; to be called before anything else of TensorFlow runs.

    One device: no strategy. Several of one host: MirroredStrategy over the first ones. Several
    processes, as TF_CONFIG or Slurm's environment describes them: MultiWorkerMirroredStrategy.

    Args:
        num_devices: Over all processes, at most `available_devices`.

    Raises:
        UsageError: TF_CONFIG cannot be read.
        DistributionError: The other processes cannot be reached.
    """
    cluster = _cluster(num_devices)
    if cluster.num_workers > 1:
        return Distribution(
            tf.distribute.MultiWorkerMirroredStrategy(cluster.resolver()), cluster.num_workers, cluster.worker
        )
    if num_devices > 1:
        return Distribution(tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(num_devices)]))
    return Distribution(tf.distribute.get_strategy())


def mirrored(num_gpus: int) -> tf.distribute.Strategy:
    """Return the strategy of a training whose results depend on how many GPUs share it.

    Args:
        num_gpus: Of this host; 1 takes whatever device TensorFlow runs on.

    Raises:
        UsageError: This host has fewer.
    """
    num_available = len(tf.config.list_physical_devices("GPU"))
    if num_gpus == 1:
        return tf.distribute.get_strategy()
    if num_gpus > num_available:
        raise UsageError(
            f"TensorFlow sees {num_available} GPU(s) here, and num_gpus must not be more (1 runs on any device).",
            received=f"num_gpus={num_gpus}",
        )
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(num_gpus)])


@dataclass(frozen=True)
class _Cluster:
    """The processes that the environment speaks of."""

    num_workers: int = 1
    worker: int = 0
    is_slurm: bool = False

    def resolver(self) -> tf.distribute.cluster_resolver.ClusterResolver:
        """Return what tells TensorFlow the addresses of all processes."""
        if not self.is_slurm:
            return tf.distribute.cluster_resolver.TFConfigClusterResolver()
        # Slurm itself says which GPUs a task sees; the resolver would ask nvidia-smi and deal them out anew. It
        # takes as many tasks of a host as that has GPUs for, so it is told of one for each.
        return tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=int(os.environ.get("MEDSYNTH_PORT", "8888")),
            gpus_per_node=self.num_workers,
            gpus_per_task=1,
            auto_set_gpu=False,
        )


def _cluster(num_devices: int) -> _Cluster:
    if os.environ.get("TF_CONFIG"):
        return _cluster_of_tf_config(os.environ["TF_CONFIG"])
    # Tasks of one Slurm step may well be trainings of their own; only one for several devices is shared.
    num_tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if num_devices > 1 and num_tasks > 1:
        return _Cluster(num_tasks, int(os.environ.get("SLURM_PROCID", "0")), is_slurm=True)
    return _Cluster()


def _cluster_of_tf_config(text: str) -> _Cluster:
    try:
        config = json.loads(text)
        addresses, task = config["cluster"]["worker"], config["task"]
        cluster = _Cluster(len(addresses), task["index"])
        is_usable = set(config["cluster"]) == {"worker"} and task["type"] == "worker"
        is_usable = is_usable and task["index"] in range(len(addresses))
    except (ValueError, KeyError, TypeError):
        is_usable = False
    if not is_usable:
        raise UsageError(
            'TF_CONFIG must read {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, '
            "with this process's own index; see docs/distribution.md.",
            received=text[:200],
        )
    return cluster
