"""The tables of shell_basics and followups: right commands, one wording for one command, names that stay the same."""

# ruff: noqa: SIM905 (word lists read best as words)

import random
import re
import subprocess
from functools import lru_cache
from shutil import which

import pytest

from weights.data.own import Conversation
from weights.data.own.heldout import is_heldout
from weights.data.own.shell import everyday, followups, shell_basics, shell_operators

TASKS = shell_basics.tasks()
# First words of commands that are in no table of tools.
OTHER_TOOLS = frozenset(
    """. 7z acpi apk aplay apropos arp-scan at atq atrm batch bash bg blkid brew bunzip2 bzip2 cargo case chattr chsh
    cmake command command1 convert cowsay cp declare deactivate dhclient do-release-upgrade dos2unix dmidecode
    docker-compose eject espeak eval exiftool expand expr factor fail2ban-client fallocate fc fg fi figlet finger
    firefox flatpak fmt for fsck function fuser gdb getent getfacl go g++ gpasswd groupadd groupdel gs hash hdparm head
    help hexdump host hostname hostnamectl hwclock identify if ifconfig info install iostat iotop iptables iwconfig java
    javac journalctl json_pp last lastb lattr less let libreoffice local loginctl lsattr lsb_release lscpu lshw lsmod
    lspci lsusb main mapfile mkfs.ext4 mktemp modprobe mogrify more mpv mtr mysql mysqldump names neofetch newgrp nano
    nmcli node notify-send npm nslookup nproc od pandoc pdftk pdftotext pdfunite pg_dump pidof ping pipx popd ps psql
    pstree pushd python3 readonly realpath reboot redis-cli rename renice reset resolvectl return screen script sed
    select sensors set setfacl setsid shift shred shutdown sl smartctl snap sort source sqlite3 sshfs ssh-add
    ssh-copy-id ssh-keygen stty swapoff swapon sync tcpdump timedatectl tldr tput trap truncate ufw ulimit unalias
    unexpand unlink unrar unset until unxz unzstd update-alternatives updatedb users uuidgen valgrind vimdiff visudo
    vmstat w wait wall whatis whereis while write xclip xdg-open xkill xrandr xz zcat zgrep zless zsh zstd zypper
    ffprobe findmnt printenv userdel dpkg apt-mark add-apt-repository getent deluser systemctl""".split()
)


@lru_cache(maxsize=1)
def written() -> tuple[str, ...]:
    """Every command of the tables."""
    found = [task.command for task in TASKS]
    for chain in followups.chains():
        found += [turn.command for turn in (chain.first, *(t for group in chain.groups for t in group)) if turn.command]
    words = dict.fromkeys("xykfgzdhuownpv", "x")
    for kind in shell_operators.TABLE["named"]:
        found += [re.sub(r"\{([a-z])\}", lambda m: words[m.group(1)], row[1]) for row in followups._named(kind)]
    return tuple(sorted(set(found)))


@lru_cache(maxsize=1)
def chats() -> tuple[Conversation, ...]:
    rng = random.Random(7)
    return tuple(followups.one(rng) for _ in range(2000))


@pytest.mark.skipif(which("bash") is None, reason="no bash on this machine")
def test_bash_can_read_every_command() -> None:
    made = [m.group(1) for c in chats() for t in c if (m := re.match(r"`([^`\n]+)`\n", t.content))]
    every = sorted({*written(), *made})
    every = [command for command in every if not command.startswith((":", "/"))]
    script = "\n".join(f"f{number}() {{\n{command}\n}}" for number, command in enumerate(every))
    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:2000]


def test_every_command_begins_with_a_known_tool() -> None:
    known = OTHER_TOOLS | {tool for tool, _ in shell_basics.rows("tools")}
    for command in written():
        first = re.sub(r"^(?:sudo |\(|(?:[A-Z]\w*=\"\w+\" +))+", "", command).split()[0].rstrip(";")
        assert first in known or re.match(r"\./|!|\[|-[klu]$|[A-Za-z_]\w*=", first), command


def test_no_wording_has_two_commands() -> None:
    """Within the table, and against everyday.toml."""
    seen: dict[str, str] = {}
    for task in (*everyday.load()[0], *TASKS):
        for text in {text.lower() for row in task.asks for text in row}:
            assert seen.setdefault(text, task.command) == task.command, text
    commands = [task.command for task in (*everyday.load()[0], *TASKS)]
    assert sorted(commands) == sorted(set(commands))


def test_the_tables_are_large() -> None:
    assert len(TASKS) >= 500
    assert len(followups.chains()) >= 120
    assert sum(len(group) for chain in followups.chains() for group in chain.groups) >= 600
    assert len(shell_basics.rows("differences")) >= 100
    assert len(shell_basics.rows("commands")) >= 200
    assert len(shell_basics.rows("tools")) >= 150
    assert len(shell_basics.rows("flags")) >= 150
    assert len({next(m.content for m in c if m.role == "user") for c in chats()}) > 1800


def test_every_explanation_is_one_sentence_that_begins_with_a_verb() -> None:
    for task in TASKS:
        assert task.explain.endswith(".") and "\n" not in task.explain, task.command
        assert re.match(r"[A-Z][a-z]+s\b", task.explain), task.explain
    for _, does, parts in shell_basics.rows("commands"):
        assert does.endswith(".") and (not parts or parts.endswith("."))
    for row in (*shell_basics.rows("tools"), *shell_basics.rows("flags")):
        assert not row[1].endswith(".")


def test_a_name_stays_the_same_through_all_turns() -> None:
    rng = random.Random(3)
    texts = ["extract archive.tar.gz", "tar xzf archive.tar.gz", "Unpacks it.", "and file.txt?", "x file.txt", "mydir"]
    by_user = [True, False, False, True, False, False]
    seen = set()
    for _ in range(50):
        new, names = followups.rename(texts, by_user, rng)
        archive, file = new[0].removeprefix("extract "), new[3][4:-1]
        assert new == [f"extract {archive}", f"tar xzf {archive}", "Unpacks it.", f"and {file}?", f"x {file}", "mydir"]
        assert set(names) <= {archive, file}
        seen.add((archive, file))
    assert len(seen) > 20


def test_a_thing_that_the_user_named_is_in_every_command() -> None:
    rng = random.Random(5)
    for kind in shell_operators.TABLE["named"]:
        words = followups._named_words(kind, rng)
        for asks, command, says in followups._named(kind):
            assert "{x}" in command or "{y}" in command, command
            for text in (*asks, command, says):
                assert not re.search(r"\{[a-z]\}", followups._filled(text, words)), text


def test_names_and_flags_are_never_mistyped() -> None:
    rng = random.Random(1)
    for _ in range(500):
        text = shell_operators.typed("and extract the archive photos.zip into holiday with -rf?", rng, ("holiday",))
        assert "photos.zip" in text and "holiday" in text and "-rf" in text and "⟦" not in text


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("tar xzf a.tar.gz", ["x", "z", "f"]),
        ("ls -la", ["-l", "-a"]),
        ("sudo ss -tln", ["-t", "-l", "-n"]),
        ("kill -9 12", ["-9"]),
        ("du -sh mydir | sort -r", ["-s", "-h"]),
        ("echo hi", []),
    ],
)
def test_flags_of(command: str, flags: list[str]) -> None:
    assert [flag for flag, _ in shell_basics.flags_of(command)] == flags


@pytest.mark.parametrize(
    ("command", "does"),
    [
        ("ls -la", True), ("grep -n foo file.txt", True), ("git log", True), ("rm file.txt", False),
        ("ls > file.txt", False), ("find . -delete", False), ("tail -f app.log", False), ("git branch -D x", False),
        ("date -s 12:00", False), ("cd mydir", False),
    ],
)  # fmt: skip
def test_only_commands_that_print_are_piped_on(command: str, does: bool) -> None:
    assert shell_operators.reads(command) is does


def test_what_deletes_is_called_dangerous() -> None:
    for command in ("rm -rf mydir", "git reset --hard", "find . -empty -delete", "sudo dd if=a of=b"):
        assert shell_operators._safety(command) == "danger_yes"
    assert shell_operators._safety("ls -l") == "danger_no"
    assert shell_operators._safety("sudo apt install htop") == "danger_root"


def test_nothing_is_held_out_in_most_drawn_conversations() -> None:
    """The filter in GENERATORS has little to do: the tables do not copy the evaluation."""
    assert sum(is_heldout(conversation) for conversation in chats()) < len(chats()) * 0.05
