/* Two processes, full duplex over tiny rings, each with two threads: a reader that waits for RECORDS
   records and a writer that sends RECORDS. One process may thus wait for data and for ring space at once, and
   only one of its threads, the holder of the receive role, may write `slp` and sleep on the peer's futex word.

   slp = epoch and reasons. DATA: wake me when you commit; always set in a sleep. SPACE: wake me when you move
   `head`; set while a writer of this process is blocked. A blocked writer
     - sets `blocked` (private), then tries the role;
     - without a holder takes it, and while it holds it drains the ring like any holder;
     - else kicks the holder's private word and sleeps on its own token; the holder arms anew, now with SPACE,
       and gives the token when there is space.
   The holder reads the private word before it looks at `blocked`, and compares it on going to sleep. Whoever stops
   waiting passes on (multi.pml). Head is published before sleeping, and after publishing it: fence, look at the
   peer's slp, wake if SPACE is wanted there.

   A deadlock of the model is a lost wake-up, or two full rings that nobody drains.

   Mutants: FENCE_COMMIT=0, FENCE_HEAD=0, FENCE_ARM=0; BUMP=0; REARM=0 (armed with DATA alone though a writer is
   blocked); KICK=0 (the holder is not told); KICK_READ_LATE=1 (private word read after `blocked`);
   SPACE_WAKE=0 (moved heads wake nobody); SPACE_RECHECK=0, DATA_RECHECK=0 (no look between arming and
   sleeping); HEAD_KEPT=1 (asleep with consumed records not yet given back); DRAIN=0 (a writer that holds the role waits for
   space alone); PASS_ON=0. */
#ifndef FENCE_COMMIT
#define FENCE_COMMIT 1
#endif
#ifndef FENCE_HEAD
#define FENCE_HEAD 1
#endif
#ifndef FENCE_ARM
#define FENCE_ARM 1
#endif
#ifndef BUMP
#define BUMP 1
#endif
#ifndef REARM
#define REARM 1
#endif
#ifndef KICK
#define KICK 1
#endif
#ifndef KICK_READ_LATE
#define KICK_READ_LATE 0
#endif
#ifndef SPACE_WAKE
#define SPACE_WAKE 1
#endif
#ifndef SPACE_RECHECK
#define SPACE_RECHECK 1
#endif
#ifndef DATA_RECHECK
#define DATA_RECHECK 1
#endif
#ifndef HEAD_KEPT
#define HEAD_KEPT 0
#endif
#ifndef DRAIN
#define DRAIN 1
#endif
#ifndef PASS_ON
#define PASS_ON 1
#endif
#ifndef REPLIES
#define REPLIES 0 /* process 1 sends only when it has got everything: nothing else wakes process 0 */
#endif
#ifndef RECORDS_0
#define RECORDS_0 2 /* sent by process 0 */
#endif
#ifndef RECORDS_1
#define RECORDS_1 2
#endif
#ifndef CAP
#define CAP 1
#endif
#define EPOCHS 4

#define THREADS 4 /* 2p: reader of process p; 2p+1: its writer */
#define WORDS 6
#define READER(p) (2 * (p))
#define WRITER(p) (2 * (p) + 1)
#define PEER(p) (1 - (p))
#define TAIL(p) (p)       /* records committed */
#define HEAD(p) (2 + (p)) /* records of the peer consumed */
#define SLP(p) (4 + (p))  /* 4 * epoch + reasons; no reasons = awake */
#define DATA 1
#define SPACE 2
#include "tso.pml"

#define TO_SEND(p) ((p) == 0 -> RECORDS_0 : RECORDS_1)
#define TO_GET(p) TO_SEND(PEER(p))

/* Shared, but changed by atomic read-modify-write alone. */
byte wseq[2];
bit queued[2]; /* process p sleeps in the kernel on { peer's wseq, own kick } */

/* Private to a process. */
bit role[2], blocked[2], following[2];
byte kick[2], last[2];
bit token[4];
byte sent[2], got[2], given[2], epoch[2], armed[2]; /* sent: by the writer; the rest: by the holder */

#define MAY_SEND(p) (!REPLIES || (p) == 0 || got[p] == TO_GET(p))
#define HAS_SPACE(p) (sent[p] - mem[HEAD(PEER(p))] < CAP)
#define HAS_DATA(p) (mem[TAIL(PEER(p))] > got[p])

/* Steps that touch nothing another thread races for are joined to their neighbours by atomic { }. */

inline wake(me, p, reason) {
  s = mem[SLP(PEER(p))];
  atomic {
    if
    :: (s & reason) && s != last[p] ->
       last[p] = s;
       DRAINED(me);
       wseq[p] = wseq[p] + BUMP;
       queued[PEER(p)] = 0
    :: else -> skip
    fi;
    s = 0
  }
}

inline publish_head(me, p) {
  if
  :: given[p] != got[p] ->
     atomic { given[p] = got[p]; STORE(me, HEAD(p), got[p]) };
     FENCE(me, FENCE_HEAD);
     if
     :: SPACE_WAKE -> wake(me, p, SPACE)
     :: else -> skip
     fi
  :: else -> skip
  fi
}

inline pass_on(p) {
  atomic {
    if
    :: PASS_ON && !role[p] && blocked[p] -> token[WRITER(p)] = 1
    :: PASS_ON && !role[p] && !blocked[p] && following[p] -> token[READER(p)] = 1
    :: else -> skip
    fi
  }
}

/* Holds the role until `enough`. */
inline lead(me, p, enough, drains) {
  do
  :: atomic {
       drains && HAS_DATA(p) ->
       got[p]++;
       if
       :: got[p] == TO_GET(p) && me != READER(p) -> token[READER(p)] = 1
       :: else -> skip
       fi
     }
  :: else ->
     if
     :: !HEAD_KEPT -> publish_head(me, p)
     :: else -> skip
     fi;
     atomic {
       if
       :: blocked[p] && me != WRITER(p) && HAS_SPACE(p) -> blocked[p] = 0; token[WRITER(p)] = 1
       :: else -> skip
       fi;
       if
       :: enough -> break
       :: else -> skip
       fi;
       if
       :: !KICK_READ_LATE -> kicked = kick[p]
       :: else -> skip
       fi
     };
     wants = blocked[p];
     atomic {
       if
       :: KICK_READ_LATE -> kicked = kick[p]
       :: else -> skip
       fi;
       seen = wseq[PEER(p)];
       if
       :: seen != armed[p] -> epoch[p] = (epoch[p] + 1) % EPOCHS
       :: else -> skip
       fi;
       armed[p] = seen;
       STORE(me, SLP(p), 4 * epoch[p] + DATA + (wants && REARM -> SPACE : 0))
     };
     FENCE(me, FENCE_ARM);
     if
     :: (DATA_RECHECK && drains && HAS_DATA(p)) || (SPACE_RECHECK && wants && HAS_SPACE(p)) -> skip
     :: else ->
        atomic {
          DRAINED(me);
          if
          :: wseq[PEER(p)] == seen && kick[p] == kicked -> queued[p] = 1
          :: else -> skip
          fi
        };
        !queued[p]
     fi;
     atomic { STORE(me, SLP(p), 0); kicked = 0; seen = 0; wants = 0 }
  od;
  publish_head(me, p);
  DRAINED(me);
  role[p] = 0;
  pass_on(p)
}

proctype Reader(byte p) {
  byte s, seen, kicked;
  bit wants;
  do
  :: got[p] == TO_GET(p) -> break
  :: else ->
     if
     :: atomic { !role[p] -> role[p] = 1 } -> lead(READER(p), p, got[p] == TO_GET(p), 1)
     :: else ->
        following[p] = 1;
        if
        :: !role[p] || got[p] == TO_GET(p) -> skip
        :: else -> token[READER(p)] == 1
        fi;
        atomic { token[READER(p)] = 0; following[p] = 0 }
     fi
  od;
  pass_on(p)
}

proctype Writer(byte p) {
  byte s, seen, kicked;
  bit wants;
  do
  :: sent[p] == TO_SEND(p) -> break
  :: sent[p] < TO_SEND(p) && MAY_SEND(p) && HAS_SPACE(p) ->
     blocked[p] = 0;
     pass_on(p);
     atomic { sent[p]++; STORE(WRITER(p), TAIL(p), sent[p]) };
     FENCE(WRITER(p), FENCE_COMMIT);
     wake(WRITER(p), p, DATA)
  :: sent[p] < TO_SEND(p) && MAY_SEND(p) && !HAS_SPACE(p) ->
     blocked[p] = 1;
     if
     :: atomic { !role[p] -> role[p] = 1 } -> lead(WRITER(p), p, HAS_SPACE(p), DRAIN)
     :: else ->
        if
        :: KICK -> atomic { kick[p]++; queued[p] = 0 }
        :: else -> skip
        fi;
        atomic { token[WRITER(p)] == 1; token[WRITER(p)] = 0 }
     fi
  od
}

init {
  atomic { run Reader(0); run Writer(0); run Reader(1); run Writer(1) }
}
