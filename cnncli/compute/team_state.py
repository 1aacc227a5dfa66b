"""Where a team keeps its state: int64 positions that Python and the compiled loops agree on."""

# what different threads write lies on different cache lines
WORD, DONE, CALLS, SEQUENCES, SEQUENCE, MAY_CANCEL, QUIT, CANCEL, STATE_SIZE = 0, 16, 32, 33, 34, 35, 48, 49, 64
TASK_BITS = 24  # of the word: low bits the next task, then the count of tasks, then the number of the phase
TASK_MASK = (1 << TASK_BITS) - 1
PHASE_MASK = (1 << 14) - 1
