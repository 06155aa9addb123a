/* The split event count at its smallest: one producer, one consumer that sleeps when it finds nothing.
   Each side stores its own word, fences, and then loads the other's; with the futex word bumped by the
   waker before FUTEX_WAKE, and compared by the kernel before the sleep, no record is slept through.

   Mutants: FENCE_WAKER=0, FENCE_SLEEPER=0 (the load overtakes the buffered store), BUMP=0 (the kernel
   has nothing to compare), RECHECK=0 (no look between announcing the sleep and sleeping). */
#ifndef FENCE_WAKER
#define FENCE_WAKER 1
#endif
#ifndef FENCE_SLEEPER
#define FENCE_SLEEPER 1
#endif
#ifndef BUMP
#define BUMP 1
#endif
#ifndef RECHECK
#define RECHECK 1
#endif
#ifndef RECORDS
#define RECORDS 3
#endif

#define THREADS 2
#define WORDS 2
#define PRODUCER 0
#define CONSUMER 1
#define TAIL 0 /* producer's: records committed */
#define SLP 1  /* consumer's: 1 = asleep, or about to be */
#include "tso.pml"

byte wseq;  /* producer's futex word; only changed by read-modify-write */
bit queued; /* the consumer is on the kernel's futex queue */

active proctype Producer() {
  byte tail;
  bit asleep;
  do
  :: tail < RECORDS ->
     tail++;
     STORE(PRODUCER, TAIL, tail);
     FENCE(PRODUCER, FENCE_WAKER);
     asleep = mem[SLP];
     if
     :: asleep ->
        DRAINED(PRODUCER);
        wseq = wseq + BUMP;
        queued = 0 /* FUTEX_WAKE */
     :: else -> skip
     fi
  :: else -> break
  od
}

active proctype Consumer() {
  byte head, seen;
  do
  :: head < RECORDS ->
     if
     :: mem[TAIL] > head -> head++
     :: else ->
        seen = wseq;
        STORE(CONSUMER, SLP, 1);
        FENCE(CONSUMER, FENCE_SLEEPER);
        if
        :: RECHECK && mem[TAIL] > head -> skip
        :: else ->
           DRAINED(CONSUMER);
           d_step { if :: wseq == seen -> queued = 1 :: else -> skip fi }; /* FUTEX_WAIT compares */
           !queued
        fi;
        STORE(CONSUMER, SLP, 0)
     fi
  :: else -> break
  od
}
