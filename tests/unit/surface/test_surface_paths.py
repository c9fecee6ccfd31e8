"""Every import path of Celery's surface: what it has here, or what the refusal names instead.

One row a path, of tiers A, B and C; tier D (what Celery itself has no more) only refuses.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys

import pytest

from umbel_celery.absent import ABSENT

HERE = {
    # --- tier A
    "celery": "Celery Task shared_task current_app current_task chain chord group chunks xmap"
    " xstarmap signature Signature maybe_signature uuid bugreport __version__ VERSION version_info"
    " VERSION_BANNER SERIES signals states exceptions result canvas utils local app",
    "celery.result": "AsyncResult GroupResult ResultSet EagerResult ResultBase allow_join_result"
    " denied_join_result result_from_tuple assert_will_not_block",
    "celery.schedules": "crontab schedule solar crontab_parser maybe_schedule ParseException"
    " BaseSchedule schedstate",
    "celery.exceptions": "SoftTimeLimitExceeded TimeLimitExceeded WorkerLostError Terminated Retry"
    " Ignore Reject MaxRetriesExceededError TimeoutError TaskRevokedError NotRegistered"
    " AlreadyRegistered InvalidTaskError ChordError IncompleteStream QueueNotFound"
    " OperationalError ImproperlyConfigured SecurityError TaskError CeleryError BackendError"
    " BackendGetMetaError BackendStoreError WorkerShutdown WorkerTerminate CeleryWarning"
    " AlwaysEagerIgnored DuplicateNodenameWarning DuplicateTaskNameWarning FixupWarning"
    " NotConfigured SecurityWarning CDeprecationWarning CPendingDeprecationWarning"
    " CeleryCommandException TaskPredicate reraise",
    "celery.states": "PENDING RECEIVED STARTED SUCCESS FAILURE REVOKED REJECTED RETRY IGNORED"
    " READY_STATES UNREADY_STATES EXCEPTION_STATES PROPAGATE_STATES ALL_STATES precedence state",
    "celery.utils.log": "get_task_logger get_logger mlevel ColorFormatter LoggingProxy task_logger"
    " worker_logger base_logger LOG_LEVELS",
    "celery.canvas": "Signature chain chord group chunks xmap xstarmap signature subtask"
    " maybe_signature StampingVisitor _chain _chord",
    "celery.app.task": "Task Context BaseTask TaskType",
    "celery.contrib.testing.worker": "start_worker TestWorkController",
    "celery.contrib.testing.app": "TestApp setup_default_app set_trap Trap UnitLogging",
    "celery.contrib.testing.tasks": "ping",
    "celery.contrib.pytest": "celery_app celery_worker celery_session_app celery_session_worker"
    " celery_config celery_parameters celery_worker_parameters celery_worker_pool celery_includes"
    " celery_enable_logging celery_class_tasks use_celery_app_trap depends_on_current_app",
    "celery.__main__": "main",
    # --- tier B
    "celery.app": "Celery shared_task app_or_default default_app bugreport push_current_task"
    " pop_current_task enable_trace disable_trace",
    "celery.app.base": "Celery App PendingConfiguration Settings",
    "celery.app.control": "Control Inspect flatten_reply",
    "celery.app.log": "Logging TaskFormatter",
    "celery.app.trace": "build_tracer task_has_custom trace_task TraceInfo"
    " setup_worker_optimizations reset_worker_optimizations LOG_RECEIVED LOG_SUCCESS LOG_FAILURE"
    " LOG_RETRY LOG_IGNORED LOG_REJECTED LOG_INTERNAL_ERROR SUCCESS FAILURE RETRY IGNORED REJECTED",
    "celery.beat": "Scheduler ScheduleEntry PersistentScheduler Service EmbeddedService"
    " SchedulingError BeatLazyFunc DEFAULT_MAX_INTERVAL event_t",
    "celery.utils": "uuid gen_unique_id cached_property gen_task_name nodename nodesplit"
    " worker_direct chunks memoize noop instantiate import_from_cwd get_full_cls_name"
    " get_cls_by_name LOG_LEVELS",
    "celery.contrib.abortable": "AbortableTask AbortableAsyncResult ABORTED",
    "celery.worker.request": "Request Context",
    "celery.worker.control": "control_command inspect_command Panel",
    "celery.security": "setup_security",
    "celery.bin.celery": "celery main",
    "celery.bin.base": "CeleryCommand CeleryOption CeleryDaemonCommand CLIContext LOG_LEVEL"
    " COMMA_SEPARATED_LIST JSON_ARRAY JSON_OBJECT ISO8601 handle_preload_options",
    "celery.bin.worker": "worker",
    "celery.bin.beat": "beat",
    "celery.bin.purge": "purge",
    "celery.bin.events": "events",
    "celery.bin.control": "control inspect status",
    "celery.events": "Event EventDispatcher EventReceiver group_from",
    "celery.events.state": "State Task Worker",
    "celery.events.snapshot": "Polaroid",
    "celery.events.receiver": "EventReceiver",
    "celery.events.dispatcher": "EventDispatcher",
    "celery.events.event": "Event group_from",
    "celery.backends.base": "Backend BaseBackend BaseKeyValueStoreBackend KeyValueStoreBackend"
    " SyncBackendMixin DisabledBackend BaseDictBackend get_current_task",
    "celery.local": "Proxy PromiseProxy try_import class_property",
    "celery._state": "get_current_task get_current_app set_default_app current_app current_task"
    " app_or_default connect_on_app_finalize _set_current_app task_join_will_block _task_stack",
    "celery.utils.time": "maybe_make_aware humanize_seconds timezone rate remaining"
    " get_exponential_backoff_interval make_aware localize maybe_iso8601 is_naive to_utc"
    " maybe_timedelta weekday delta_resolution LocalTimezone adjust_timestamp utcoffset",
    "celery.utils.serialization": "b64encode b64decode strtobool jsonify raise_with_context"
    " UnpickleableExceptionWrapper get_pickleable_exception create_exception_cls",
    "celery.contrib.django.task": "DjangoTask",
    "celery.fixups.django": "DjangoFixup fixup",
    "celery.registry": "tasks",
    "celery.execute": "send_task",
    "celery.log": "get_default_logger setup_logging_subsystem redirect_stdouts_to_logger",
    # --- tier C
    "celery.app.registry": "TaskRegistry",
    "celery.app.events": "Events",
    "celery.app.utils": "Settings find_app sanitize_url appstr bugreport",
    "celery.contrib.testing.manager": "Manager ManagerMixin",
    "celery.contrib.testing.mocks": "ContextMock",
    "celery.utils.imports": "symbol_by_name instantiate gen_task_name import_from_cwd qualname"
    " find_module load_extension_classes cwd_in_path",
    "celery.utils.functional": "maybe_list regen noop LRUCache memoize first chunks uniq"
    " head_from_fun arity_greater lazy mlazy padlist firstmethod fun_accepts_kwargs",
    "celery.utils.nodenames": "worker_direct nodename gethostname default_nodename host_format"
    " node_format anon_nodename",
    "celery.utils.collections": "AttributeDict DictAttribute ChainMap force_mapping",
    "celery.utils.objects": "Bunch FallbackContext getitem_property cached_property",
    "celery.utils.saferepr": "saferepr",
    "celery.utils.text": "truncate abbr abbrtask indent join pluralize str_to_list dedent",
    "celery.utils.dispatch": "Signal",
    "celery.utils.dispatch.signal": "Signal",
    "celery.utils.threads": "LocalStack bgThread Local",
    "celery.utils.graph": "DependencyGraph",
    "celery.utils.iso8601": "parse_iso8601",
    "celery.utils.sysinfo": "load_average",
}


@pytest.mark.parametrize("path", sorted(HERE))
def test_a_path_has_its_names(path):
    module = importlib.import_module(path)
    assert "umbel" in str(module.__file__)
    missing = [name for name in HERE[path].split() if not hasattr(module, name)]
    assert missing == []


@pytest.mark.parametrize("path", sorted(ABSENT))
def test_an_absent_path_says_what_to_use(path):
    with pytest.raises(ModuleNotFoundError, match="umbel-celery has no") as refused:
        importlib.import_module(path)
    assert refused.value.name == path
    assert ABSENT[path].split()[0] in ("it", "use", "run", "a", "Celery", "autodoc")


def test_the_distribution_celery_is_told_of_by_name_only():
    assert importlib.metadata.version("celery") == "5.7.0"
    assert importlib.metadata.distribution("celery").metadata["Name"] == "celery"
    told = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(m.version('celery'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "5.7.0\n"
    ours = [one for one in importlib.metadata.distributions() if "umbel" in type(one).__module__]
    assert ours == []


def test_small_things_do_what_celerys_do():
    time = importlib.import_module("celery.utils.time")
    assert time.humanize_seconds(90, prefix="in ") == "in 1.50 minutes"
    assert [time.humanize_seconds(s) for s in (0, 0.5, 1, 60, 7200, 100000)] == [
        *("now", "now", "1.00 second", "1.00 minute", "2.00 hours", "1.16 days")
    ]
    assert (time.rate("10/h"), time.rate(None), time.rate("7")) == (10 / 3600, 0.0, 7.0)
    nodes = importlib.import_module("celery.utils.nodenames")
    assert nodes.nodesplit("a@b")[0] == "a"
    assert nodes.host_format("%n@%h-%d%%", "foo.example.com") == "foo@foo.example.com-example.com%"
    assert nodes.worker_direct("w@h").name == "w@h.dq2"
    states = importlib.import_module("celery.states")
    assert states.state("SUCCESS") > states.state("PENDING")
    serialization = importlib.import_module("celery.utils.serialization")
    with pytest.raises(TypeError, match="'perhaps' is no truth value: write one of 0, 1, f"):
        serialization.strtobool("perhaps")
    functional = importlib.import_module("celery.utils.functional")
    assert list(functional.chunks(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert functional.mlazy(object)() is not None
    imports = importlib.import_module("celery.utils.imports")
    assert imports.symbol_by_name("collections:OrderedDict").__name__ == "OrderedDict"
    assert imports.qualname(3) == "builtins.int"
