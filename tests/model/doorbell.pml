/* A sleeper that chooses at each sleep how it wants to be woken: kind FUTEX (FUTEX_WAKE on the waker's wseq) or
   kind DOORBELL (one byte on the control socket, which it polls beside many others). `slp` says which.

   The socket holds SOCKET bytes. A full one refuses the byte (EAGAIN) and that is fine: full means
   readable. Bytes are drained by the sleeper after it woke, never before it looks at the ring for the
   last time. A byte that comes late, after its sleep was ended by the recheck, costs one wake for nothing.

   The waker moves wseq for either kind, then signals by the kind that it read; the epoch moves on only when wseq has
   moved (wake_epoch.pml). Kind and epoch are compared together with what was last woken: a sleep armed
   anew in the same epoch but of another kind is another sleep, or the signal already under way for the
   first kind would be taken for its own.

   BELL=1: no futex; whoever is of that kind is woken by a bell (transport/shm/bell.h: eventfd, semaphore) that it shares with the waker. A
   bell keeps rings, RINGS at most (one more is refused, and that is fine: it is rung), until the sleeper takes them,
   which it does after it woke. Somebody of its own process may ring at any moment, too (Kick).

   Mutants: FENCE_WAKER=0, FENCE_SLEEPER=0, RECHECK=0, EPOCH_ONLY=1 (last compared without the kind), BUMP_DOORBELL=0
   (wseq left alone for a doorbell, so that the epoch stands still and the next sleep is taken for woken), DRAIN_LATE=1 (bytes drained
   after the last look at the ring, just before polling). */
#ifndef FENCE_WAKER
#define FENCE_WAKER 1
#endif
#ifndef FENCE_SLEEPER
#define FENCE_SLEEPER 1
#endif
#ifndef RECHECK
#define RECHECK 1
#endif
#ifndef EPOCH_ONLY
#define EPOCH_ONLY 0
#endif
#ifndef BUMP_DOORBELL
#define BUMP_DOORBELL 1
#endif
#ifndef DRAIN_LATE
#define DRAIN_LATE 0
#endif
#ifndef WAKERS
#define WAKERS 2
#endif
#ifndef BELL
#define BELL 0
#endif
#define RINGS 1
#define RECORDS_EACH 2
#define SOCKET 1
#define EPOCHS 4

#define THREADS (WAKERS + 1)
#define WORDS (WAKERS + 1)
#define SLEEPER WAKERS
#define SLP WAKERS /* 0 = awake, else 4 * epoch + kind */
#define FUTEX 1
#define DOORBELL 2
#include "tso.pml" /* words 0 .. WAKERS - 1: records committed by each thread of the waking process */

#if WAKERS == 2
#define COMMITTED (mem[0] + mem[1])
#else
#define COMMITTED mem[0]
#endif

byte wseq, last;
bit queued;
byte bytes; /* in the control socket */
byte rings; /* in the bell */

active [WAKERS] proctype Waker() {
  byte me, s, i;
  me = _pid - THREADS;
  do
  :: i < RECORDS_EACH ->
     atomic { i++; STORE(me, me, i) };
     FENCE(me, FENCE_WAKER);
     s = mem[SLP];
     if
     :: s != 0 && (EPOCH_ONLY -> s / 4 != last / 4 || last == 0 : s != last) ->
        atomic { last = s; DRAINED(me) };
        if
        :: (s & FUTEX) || BUMP_DOORBELL -> wseq++
        :: else -> skip
        fi;
        if
        :: (s & FUTEX) && !BELL -> queued = 0
        :: (s & FUTEX) && BELL -> rings = (rings < RINGS -> rings + 1 : RINGS)
        :: else -> bytes = (bytes < SOCKET -> bytes + 1 : SOCKET) /* send(MSG_DONTWAIT); EAGAIN is fine */
        fi
     :: else -> skip
     fi
  :: else -> break
  od
}

active proctype Sleeper() {
  byte head, seen, armed, epoch, kind;
  do
  :: head < WAKERS * RECORDS_EACH ->
     if
     :: COMMITTED > head -> head++
     :: else ->
        if
        :: kind = FUTEX
        :: kind = DOORBELL
        fi;
        atomic {
          seen = wseq;
          if
          :: seen != armed -> epoch = (epoch + 1) % EPOCHS
          :: else -> skip
          fi;
          armed = seen;
          STORE(SLEEPER, SLP, 4 * epoch + kind)
        };
        FENCE(SLEEPER, FENCE_SLEEPER);
        if
        :: RECHECK && COMMITTED > head -> skip
        :: else ->
           if
           :: kind == FUTEX && BELL ->
              DRAINED(SLEEPER);
              if
              :: DRAIN_LATE -> rings = 0
              :: else -> skip
              fi;
              rings > 0;
              rings = 0
           :: kind == FUTEX && !BELL ->
              atomic {
                DRAINED(SLEEPER);
                if
                :: wseq == seen -> queued = 1
                :: else -> skip
                fi
              };
              !queued
           :: else ->
              DRAINED(SLEEPER);
              if
              :: DRAIN_LATE -> bytes = 0
              :: else -> skip
              fi;
              bytes > 0; /* poll */
              bytes = 0  /* recv(MSG_DONTWAIT) until EAGAIN */
           fi
        fi;
        STORE(SLEEPER, SLP, 0)
     fi
  :: else -> break
  od
}

#if BELL
active proctype Kicker() { rings = RINGS }
#endif
