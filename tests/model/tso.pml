/* Total store order, as on x86: a store goes into its thread's buffer and reaches memory later, in
   order; a load sees memory. (A thread never loads a word that it has itself just stored: what one owns one
   keeps in a private copy.) An atomic read-modify-write, a system call and a seq_cst fence wait for the
   buffer to be empty. Before this file define THREADS, WORDS and, if more than 2 stores can wait, DEPTH. */
#ifndef DEPTH
#define DEPTH 2
#endif

byte mem[WORDS];
chan buffer[THREADS] = [DEPTH] of { byte, byte };

#define STORE(thread, word, value) buffer[thread]!word,value
#define DRAINED(thread) empty(buffer[thread])

/* A fence that a mutant leaves out: FENCE(thread, NAME) with NAME 0 is no fence. */
#define FENCE(thread, present) if :: present -> DRAINED(thread) :: else -> skip fi

/* The first processes of every model, so that _pid is the thread whose buffer they empty. */
active [THREADS] proctype Memory() {
  byte word, value;
end:
  do
  :: d_step { buffer[_pid]?word,value; mem[word] = value; word = 0; value = 0 }
  od
}
