/* Wake once per sleep: `slp` carries an epoch, and the waking process, which has several threads, keeps
   privately what it last woke (`last`) and leaves a sleep alone that it has woken already.

   The epoch has few bits and comes round. So it moves on only when the futex word has moved since the
   sleeper last armed: then `last == slp` always means that a bump of that word is still to come or came
   after this arming, and a sleeper that arms a thousand times without being woken (work kept
   arriving just in time, a private kick, a deadline) never meets an old `last` again.

   A private word of the sleeping process (deadline, cancel, kick, death of the peer) ends a sleep too.

   Mutants: FENCE_WAKER=0, FENCE_SLEEPER=0, BUMP=0, PRIVATE=0 (the private word is not compared before
   sleeping), ALWAYS_ADVANCE=1 (the epoch moves at each arming, comes round and meets an old `last`),
   NEVER_ADVANCE=1. ALWAYS_ADVANCE=1 with EPOCHS=100, which never comes round here, is right: so it is
   the coming round that kills. */
#ifndef FENCE_WAKER
#define FENCE_WAKER 1
#endif
#ifndef FENCE_SLEEPER
#define FENCE_SLEEPER 1
#endif
#ifndef BUMP
#define BUMP 1
#endif
#ifndef PRIVATE
#define PRIVATE 1
#endif
#ifndef ALWAYS_ADVANCE
#define ALWAYS_ADVANCE 0
#endif
#ifndef NEVER_ADVANCE
#define NEVER_ADVANCE 0
#endif
#ifndef EPOCHS
#define EPOCHS 4
#endif
#define WAKERS 2
#define RECORDS 3 /* two from the first thread, one from the second */

#define THREADS 3
#define WORDS 3
#define CONSUMER 2
#define SLP 2 /* consumer's: 0 = awake, else epoch + 1 */
#include "tso.pml" /* words 0 and 1: what each producer thread has committed */

byte wseq, last; /* of the waking process; `last` private to it */
bit queued;
byte kick; /* private word of the sleeping process */
bit dead;
byte head; /* records consumed */

active [WAKERS] proctype Producer() {
  byte me, s, i;
  me = _pid - THREADS;
  do
  :: i < 2 - me ->
     i++;
     STORE(me, me, i);
     FENCE(me, FENCE_WAKER);
     s = mem[SLP];
     if
     :: s != 0 && s != last ->
        last = s;
        DRAINED(me);
        wseq = wseq + BUMP;
        queued = 0
     :: else -> skip
     fi
  :: else -> break
  od
}

active proctype Consumer() {
  byte seen, armed, kicked, epoch;
  do
  :: !dead ->
     if
     :: mem[0] + mem[1] > head -> head++
     :: else ->
        kicked = kick;
        seen = wseq;
        if
        :: (seen != armed || ALWAYS_ADVANCE) && !NEVER_ADVANCE -> epoch = (epoch + 1) % EPOCHS
        :: else -> skip
        fi;
        armed = seen;
        STORE(CONSUMER, SLP, epoch + 1);
        FENCE(CONSUMER, FENCE_SLEEPER);
        if
        :: mem[0] + mem[1] > head || dead -> skip
        :: else ->
           DRAINED(CONSUMER);
           d_step {
             if
             :: wseq == seen && (!PRIVATE || kick == kicked) -> queued = 1
             :: else -> skip
             fi
           };
           !queued
        fi;
        STORE(CONSUMER, SLP, 0)
     fi
  :: else -> break
  od
}

/* Ends one sleep for nothing; then, when every record has been seen, the last one for good. */
active proctype Housekeeping() {
  kick++;
  queued = 0;
  head == RECORDS;
  dead = 1;
  kick++;
  queued = 0
}
