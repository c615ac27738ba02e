"""gdb commands for green threads, in a live process and in a core file.

    green threads         every green thread that has started: its number, its name, what it does
    green bt ID [ARGS]    where one of them stands: its backtrace; ARGS as for `bt`
    green locks           each lock that threads wait for: who holds it, and who waits

The script is part of each program that green is linked into. gdb reads it there if it is told that it may
(`add-auto-load-safe-path PROGRAM`); otherwise `source` this file. It needs the program's symbols, but no description of its types:
src/sched/debug.rs says where everything is.

A thread that is unstarted has no stack yet and is not shown.
"""

import re

import gdb
from gdb.unwinder import Unwinder

VERSION = 2
WORDS = (
    "version remotes max_remotes worker current first_live number "
    "next_live fiber wait reason id size extra name link hub context reasons reason_count holder"
).split()
WAITING = 1
"""The low three bits of the word at `wait`, while a thread waits."""
LOCKED = {"mutex": 1, "rwlock": 1 << 3, "once": None}
"""The waits for a lock, and the bit of its word that says that its holder has it alone. As in src/park/waits_on.rs."""
READERS_SHIFT = 4
DATED = 1


def memory(address, length):
    return gdb.selected_inferior().read_memory(address, length).tobytes()


def number(address, length=8):
    return int.from_bytes(memory(address, length), "little")


def text(address):
    """A `str` by the address of its address and length; None if there is none."""
    start, length = number(address), number(address + 8)
    return memory(start, length).decode("utf-8", "replace") if start else None


def c_value(expression):
    """`expression` as C, whatever language the program is written in."""
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        return int(gdb.parse_and_eval(f"(unsigned long) ({expression})"))
    finally:
        gdb.execute(f"set language {language}", to_string=True)


class Table:
    """Where everything is: `DebugTable` of src/sched/debug.rs."""

    def __init__(self):
        names = re.findall(r"\bgreen_debug_\d+_\d+_\d+\b", gdb.execute("info variables ^green_debug_", to_string=True))
        if not names:
            raise gdb.GdbError("green: the program has no table of green threads: is it stripped, or not linked with green?")
        at = c_value(f"&'{names[0]}'")
        for index, word in enumerate(WORDS):
            setattr(self, word, number(at + 8 * index))
        if self.version != VERSION:
            raise gdb.GdbError(f"green: the program's table is of version {self.version}, this script reads version {VERSION}")


class Thread:
    def __init__(self, table, header, worker, current):
        self.table, self.header, self.worker = table, header, worker
        self.id = number(header + table.id)
        self.fiber = number(header + table.fiber)
        self.stack = 1 << number(header + table.size, 1)
        extra = number(header + table.extra)
        self.name = text(extra + table.name) if extra else None
        self.waits = number(header + table.wait) & 7 == WAITING
        self.is_current = header == current
        self.under = None
        """The thread that runs on top of this one, if any: then that one's hub is this one's context."""

    def context(self):
        """Stack pointer, program counter, frame pointer and base register."""
        if self.under:
            at = self.under.fiber + self.table.hub
        else:
            at = self.fiber + self.table.context
        return [number(at + 8 * index) for index in range(4)]

    def state(self):
        if self.is_current:
            return f"running on worker {self.worker}"
        if self.under:
            return f"below {self.under.id}, which runs on top of it"
        if not self.fiber:
            return "below another thread, with thread-locals of its own"
        if not self.waits:
            return "ready"
        return f"waits: {self.reason() or 'for its turn'}"

    def reason(self):
        return text(self.table.reasons + 16 * number(self.header + self.table.reason, 1))

    def lock(self):
        """The address of the lock that it waits for, if it does: what it has noted of its wait, or what stands in the note of one with a deadline."""
        if self.is_current or not self.waits or self.reason() not in LOCKED:
            return None
        note = number(self.header + self.table.link)
        return number(note & ~DATED) if note & DATED else note


def threads():
    """All threads that have started."""
    table = Table()
    for index in range(table.max_remotes):
        remote = number(table.remotes + 8 * index)
        if not remote:
            return
        worker = number(remote + table.worker)
        if not worker:
            continue
        current = number(worker + table.current)
        found = []
        header = number(worker + table.first_live)
        while header:
            found.append(Thread(table, header, number(worker + table.number), current))
            header = number(header + table.next_live)
        mark_those_below(found)
        yield from found


def mark_those_below(found):
    """A thread that joins another may have it run on top of itself. Then the hub's stack pointer, of the one on top, is on its stack."""
    own = found and found[0].table.hub != 2**64 - 1
    top = next((thread for thread in found if own and thread.is_current and thread.fiber), None)
    while top:
        hub = number(top.fiber + top.table.hub)
        below = next((thread for thread in found if thread.fiber and thread.fiber - thread.stack < hub < thread.fiber), None)
        if below is None or below.under or below.is_current:
            return
        below.under = top
        top = below


class Aside(Unwinder):
    """Has the innermost frame of the selected OS thread be called by the context of a green thread."""

    def __init__(self):
        super().__init__("green")
        self.context, self.first = None, None

    def __call__(self, pending):
        if self.context is None:
            return None
        names = REGISTERS[gdb.selected_inferior().architecture().name()]
        here = int(pending.read_register(names[0]))
        if self.first not in (None, here):
            return None
        self.first = here
        values = [gdb.Value(value) for value in self.context]
        # A frame that called another is looked up by the byte before its return address. This one was not left by a call.
        values[1] += 1
        # gdb stops where a caller's frame seems to lie below the frame that it called: so this one says that it is lower.
        info = pending.create_unwind_info(FrameId(values[0] - 64, pending.read_register(names[1])))
        for name, value in zip(names, values):
            info.add_saved_register(name, value)
        return info

    def show(self, context, arguments):
        self.context, self.first = context, None
        gdb.invalidate_cached_frames()
        try:
            # The first frame is the OS thread's own.
            for line in gdb.execute(f"bt {arguments}", to_string=True).splitlines():
                if not line.startswith("#0 "):
                    gdb.write(re.sub(r"^#(\d+)", lambda match: f"#{int(match[1]) - 1}", line) + "\n")
        finally:
            self.context = None
            gdb.invalidate_cached_frames()


REGISTERS = {"i386:x86-64": ("rsp", "rip", "rbp", "rbx"), "aarch64": ("sp", "pc", "x29", "x19")}


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


ASIDE = Aside()
gdb.unwinder.register_unwinder(None, ASIDE, replace=True)


def held_by(lock, kind, names, table):
    word = number(lock, 4)
    if kind == "rwlock" and word >> READERS_SHIFT:
        return f"{word >> READERS_SHIFT} readers"
    bit = LOCKED[kind]
    holder = number(lock + table.holder)
    if not holder or bit is not None and not word & bit:
        return "no green thread"
    return f"thread {holder}{names.get(holder, '')}"


class Green(gdb.Command):
    """Looks at green threads: `green threads`, `green bt ID`, `green locks`."""

    def __init__(self):
        super().__init__("green", gdb.COMMAND_STACK, prefix=True)


class GreenThreads(gdb.Command):
    """Lists the green threads that have started: number, name, and what each does. (Where one stands: `green bt`.)"""

    def __init__(self):
        super().__init__("green threads", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        count = 0
        for thread in threads():
            count += 1
            name = f" {thread.name!r}" if thread.name else ""
            gdb.write(f"{thread.id:>8}{name}  {thread.state()}\n")
        gdb.write(f"{count} green threads\n")


class GreenBt(gdb.Command):
    """Shows the backtrace of a green thread: `green bt ID [ARGS]`, with the arguments of `bt`."""

    def __init__(self):
        super().__init__("green bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted, _, arguments = argument.strip().partition(" ")
        if not wanted.isdigit():
            raise gdb.GdbError("green bt: which thread? Its number stands in `green threads`")
        thread = next((thread for thread in threads() if thread.id == int(wanted)), None)
        if thread is None:
            raise gdb.GdbError(f"green bt: no green thread {wanted} has started and not ended")
        if thread.table.context == 2**64 - 1:
            raise gdb.GdbError("green bt: the program was built with a switch that is not green's own")
        if thread.is_current:
            raise gdb.GdbError(f"green bt: thread {wanted} runs on worker {thread.worker}: `thread apply all bt` shows it")
        if not thread.fiber:
            raise gdb.GdbError(f"green bt: thread {wanted} is below another, with thread-locals of its own: its place is not known")
        gdb.write(f"green thread {thread.id}: {thread.state()}\n")
        ASIDE.show(thread.context(), arguments)


class GreenLocks(gdb.Command):
    """Lists the locks that green threads wait for: who holds each, and who waits."""

    SHOWN = 10

    def __init__(self):
        super().__init__("green locks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found, names, locks = list(threads()), {}, {}
        for thread in found:
            names[thread.id] = f" {thread.name!r}" if thread.name else ""
            if lock := thread.lock():
                locks.setdefault((lock, thread.reason()), []).append(thread.id)
        for (lock, kind), waiters in locks.items():
            holder = held_by(lock, kind, names, found[0].table)
            shown = ", ".join(f"{waiter}{names[waiter]}" for waiter in waiters[: self.SHOWN])
            more = ", ..." if len(waiters) > self.SHOWN else ""
            gdb.write(f"{kind} {lock:#x}, held by {holder}; waiting: {len(waiters)}: {shown}{more}\n")
        gdb.write(f"{len(locks)} locks that green threads wait for\n")


Green()
GreenThreads()
GreenLocks()
GreenBt()
