"""Who a worker runs as: user, group, mask of new files. Called before anything is opened."""

from __future__ import annotations

import grp
import os
import pwd

from umbel.errors import ImproperlyConfigured


def become(uid: str | None, gid: str | None, umask: int | None) -> None:
    """Take on this user and group (names or numbers) for good. Raises ImproperlyConfigured."""
    if umask is not None:
        os.umask(umask)
    if uid is None and gid is None:
        return
    try:
        user = _user(uid) if uid is not None else None
        group = _group(gid) if gid is not None else (user.pw_gid if user else None)
        if group is not None:
            os.setgid(group)
        if user is not None:
            os.initgroups(user.pw_name, group if group is not None else user.pw_gid)
            os.setuid(user.pw_uid)
    except KeyError as error:
        raise ImproperlyConfigured(f"there is no such user or group here: {error}") from error
    except PermissionError as error:
        raise ImproperlyConfigured(
            f"this process may not become user {uid!r}, group {gid!r}: only root may"
        ) from error


def _user(uid: str) -> pwd.struct_passwd:
    return pwd.getpwuid(int(uid)) if uid.isdigit() else pwd.getpwnam(uid)


def _group(gid: str) -> int:
    return int(gid) if gid.isdigit() else grp.getgrnam(gid).gr_gid
