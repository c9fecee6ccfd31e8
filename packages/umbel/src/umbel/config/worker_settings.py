"""The settings of workers. See ``task_settings`` for how a group is written."""

from __future__ import annotations

from umbel.config.result_store_settings import ResultStoreSettings
from umbel.config.task_settings import Octal, Seconds

_TIME_AND_LEVEL = "[%(asctime)s: %(levelname)s/%(processName)s]"


class WorkerSettings(ResultStoreSettings, frozen=True, kw_only=True):
    """Settings of workers."""

    # --- Worker ---

    worker_concurrency: int | str | None = None
    """Tasks run side by side; None is the number of CPUs, ``auto`` what this process may use."""
    worker_processes: int | None = None
    """Processes of the threads, asyncio, gevent and eventlet pools; None is one."""
    worker_pool: str = "prefork"
    """Kind of pool: prefork, threads, asyncio, gevent, eventlet, solo."""
    worker_pool_start_method: str = "fork"
    """How executors are made: fork, always; Celery's other ways are refused."""
    worker_pool_restarts: bool = False
    """Allow the remote command that restarts the pool."""
    worker_pool_putlocks: bool = True
    """A detail of Celery's pool; without effect."""
    worker_prefetch_multiplier: int = 4
    """Most messages claimed ahead for each slot, however short the tasks; 0: no limit."""
    worker_lookahead: Seconds = 0.05
    """Seconds of work that may be claimed ahead for each slot."""
    worker_disable_prefetch: bool = False
    """Claim messages for free slots only."""
    worker_eta_task_limit: int | None = None
    """Most messages with a later ``eta`` that a worker holds in memory."""
    worker_enable_prefetch_count_reduction: bool = True
    """Claim less after a lost connection until running tasks have ended."""
    worker_detect_quorum_queues: bool = True
    """Notice quorum queues of RabbitMQ and consume from them accordingly."""
    worker_lease: Seconds = 15.0
    """Seconds for which a claim lives unless it is renewed."""
    worker_lease_renewal: Seconds = 5.0
    """Seconds between renewals; less than ``worker_lease``."""
    worker_stall_timeout: Seconds | None = 60.0
    """Seconds messages may wait beside free slots before a worker connects anew; twice: it ends."""
    worker_max_tasks_per_child: int | None = None
    """Tasks after which a process is replaced; None: never."""
    worker_max_memory_per_child: int | None = None
    """Memory of a process, in KiB, above which it is replaced after its task; None: no limit."""
    worker_lost_wait: Seconds = 10.0
    """Seconds to wait for the last results of a process that died."""
    worker_proc_alive_timeout: Seconds = 4.0
    """Seconds that a new process may take to start."""
    worker_cancel_long_running_tasks_on_connection_loss: bool = False
    """End tasks that acknowledge late when the broker is lost."""
    worker_shutdown_timeout: Seconds | None = None
    """Seconds that running tasks have to end after SIGTERM; None: as long as they take."""
    worker_soft_shutdown_timeout: Seconds = 0.0
    """Seconds that running tasks have between a soft and a cold shutdown."""
    worker_enable_soft_shutdown_on_idle: bool = False
    """Take the time of a soft shutdown also when nothing runs."""
    worker_deduplicate_successful_tasks: bool = False
    """Skip a message delivered again whose task already succeeded."""
    worker_disable_rate_limits: bool = False
    """Ignore rate limits."""
    worker_state_db: str | None = None
    """File that keeps revoked ids over a restart."""
    worker_direct: bool = False
    """Give each worker a queue of its own."""
    worker_enable_remote_control: bool = True
    """Listen to remote control commands."""
    worker_send_task_events: bool = False
    """Send task events, as ``-E`` does."""

    worker_http: str | None = None
    """Where ``/livez``, ``/readyz`` and ``/metrics`` are told: ``host:port`` or ``unix:/path``."""
    worker_metrics_task_names: int = 100
    """Most task names with metrics of their own; tasks of further names are counted together."""

    # --- Worker: logging ---

    worker_hijack_root_logger: bool = True
    """Replace the handlers of the root logger."""
    worker_log_color: bool | None = None
    """Colour the log; None: when it goes to a terminal."""
    worker_log_format: str = f"{_TIME_AND_LEVEL} %(message)s"
    """Format of log lines."""
    worker_log_datefmt: str | None = None
    """Format of the time in log lines."""
    worker_task_log_format: str = f"{_TIME_AND_LEVEL} %(task_name)s[%(task_id)s]: %(message)s"
    """Format of log lines written inside tasks; task_id and task_name may be used."""
    worker_task_log_datefmt: str | None = None
    """Format of the time in log lines written inside tasks."""
    worker_redirect_stdouts: bool = True
    """Send what tasks print to the log."""
    worker_redirect_stdouts_level: str = "WARNING"
    """Log level of what tasks print."""

    # --- Worker: replaceable parts and identity ---

    worker_timer: str | None = None
    """Celery's class of timers; without effect."""
    worker_timer_precision: Seconds = 1.0
    """Celery's longest sleep of a timer, in seconds; without effect."""
    worker_autoscaler: str = "celery.worker.autoscale:Autoscaler"
    """Class that grows and shrinks the pool."""
    worker_consumer: str = "celery.worker.consumer:Consumer"
    """Celery's class of consumers; without effect."""
    worker_agent: str | None = None
    """Class of an agent that no longer exists; without effect."""
    worker_logfile: str | None = None
    """Log file, when the command line names none."""
    worker_pidfile: str | None = None
    """File for the process id, when the command line names none."""
    worker_uid: int | str | None = None
    """User to become, when the command line names none."""
    worker_gid: int | str | None = None
    """Group to become, when the command line names none."""
    worker_umask: Octal | None = None
    """File mode mask, when the command line names none; text is octal."""
    worker_executable: str | None = None
    """Python that runs a detached worker."""
