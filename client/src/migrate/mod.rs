//! Bringing reports home, and back: who does it, when it may be done, and how nothing is lost on the way.
