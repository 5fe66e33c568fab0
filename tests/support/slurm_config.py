"""The configuration files of the test cluster: one controller, four virtual nodes, two partitions, accounting."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4")
CPUS_PER_NODE = 8
MEMORY_PER_NODE_MB = 20000
GPUS_PER_NODE = 8
CLUSTER_NAME = "stilts"

# Slurm delays the next start of a requeued job by the life of its credential (slurm.conf, AuthInfo cred_expire,
# default 120 s). Tests of requeueing cannot wait that long; much less than this and a busy machine loses launches.
CREDENTIAL_LIFE_S = 15


@dataclass(frozen=True)
class Ports:
    slurmctld: int
    slurmdbd: int
    slurmd: int  # of the first node; the others follow

    @classmethod
    def count(cls) -> int:
        return 2 + len(NODES)

    @classmethod
    def block(cls, first: int) -> Ports:
        return cls(slurmctld=first, slurmdbd=first + 1, slurmd=first + 2)


def slurm_conf(
    folder: Path,
    ports: Ports,
    *,
    max_array_size: int,
    min_job_age_s: int,
    grace_time_s: int,
    message_timeout_s: int,
    limits: bool,
) -> str:
    """Text of slurm.conf for a cluster that lives in `folder`."""
    host = socket.gethostname().split(".")[0]
    last_port = ports.slurmd + len(NODES) - 1
    nodes = f"n[1-{len(NODES)}]"
    settings = {
        "ClusterName": CLUSTER_NAME,
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports.slurmctld,
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge/socket,cred_expire={CREDENTIAL_LIFE_S}",
        "CredType": "cred/munge",
        "StateSaveLocation": f"{folder}/state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/state/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/spool/%n.pid",
        "SlurmdLogFile": f"{folder}/log/steps-%n.log",
        "MailProg": "/bin/true",
        # Without cgroups and without asking more CPUs of the host than it has.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SlurmdParameters": "config_overrides",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": MEMORY_PER_NODE_MB // CPUS_PER_NODE // 2,
        "GresTypes": "gpu",
        "ReturnToService": 2,
        "JobRequeue": 1,
        "KillWait": 5,
        "MinJobAge": min_job_age_s,
        "MaxArraySize": max_array_size,
        "MaxJobCount": 50000,
        "SlurmctldTimeout": 30,
        # A killed node is seen as down after this; a slow one must not be.
        "SlurmdTimeout": 20,
        "MessageTimeout": message_timeout_s,
        "CompleteWait": 0,
        "EpilogMsgTime": 0,
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        # The signal a job asked for (--signal) announces its preemption too.
        "SlurmctldParameters": "preempt_send_user_signal",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": ports.slurmdbd,
        "AccountingStoragePass": f"{folder}/munge/socket",
        "AccountingStorageTRES": "gres/gpu",
        "AccountingStoreFlags": "job_comment",
        "JobAcctGatherType": "jobacct_gather/none",
        "SlurmctldDebug": "info",
        "SlurmdDebug": "info",
    }
    if limits:
        settings["AccountingStorageEnforce"] = "limits,qos"
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [
        f"NodeName={nodes} NodeAddr=127.0.0.1 NodeHostname={host} Port=[{ports.slurmd}-{last_port}]"
        f" CPUs={CPUS_PER_NODE} RealMemory={MEMORY_PER_NODE_MB} Gres=gpu:{GPUS_PER_NODE} State=UNKNOWN",
        f"PartitionName=main Nodes={nodes} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_time_s}"
        " DefaultTime=60 MaxTime=INFINITE",
        f"PartitionName=urgent Nodes={nodes} PriorityTier=10 PreemptMode=OFF DefaultTime=60 MaxTime=INFINITE",
    ]
    return "\n".join(lines) + "\n"


def slurmdbd_conf(folder: Path, ports: Ports) -> str:
    """Text of slurmdbd.conf. The database user is root, known to MariaDB by the Unix socket: no password."""
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge/socket",
        "DbdHost": "localhost",
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports.slurmdbd,
        "SlurmUser": "root",
        "PidFile": f"{folder}/state/slurmdbd.pid",
        "DebugLevel": "info",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_acct_db",
    }
    return "\n".join(f"{name}={value}" for name, value in settings.items()) + "\n"


def gres_conf(folder: Path) -> str:
    return f"NodeName=n[1-{len(NODES)}] Name=gpu File={folder}/dev/gpu[0-{GPUS_PER_NODE - 1}]\n"


def make_gpu_devices(folder: Path) -> None:
    """Character devices that stand for GPUs (each is a second /dev/null: major 1, minor 3). Slurm only counts them."""
    folder.mkdir()
    for index in range(GPUS_PER_NODE):
        os.mknod(folder / f"gpu{index}", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def mariadb_options(folder: Path) -> list[str]:
    """A small MariaDB of its own: no TCP port, no system option file, no care for what a power cut would lose."""
    return [
        "--no-defaults",
        "--user=root",
        f"--datadir={folder}/mariadb",
        f"--socket={folder}/mariadb.socket",
        f"--pid-file={folder}/mariadb.pid",
        "--skip-networking",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
        "--max-connections=50",
    ]
