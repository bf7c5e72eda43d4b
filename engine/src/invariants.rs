//! What must hold always (KB-1 to KB-8), as predicates.
