namespace SafePool;

/// <summary>What became of a session that was idle for long enough.</summary>
public enum TerminationOutcome
{
    /// <summary>Nothing, because it was a dry run: otherwise it would have been told to end.</summary>
    DryRun = 0,

    /// <summary>It was told to end, and does within moments.</summary>
    Terminated,

    /// <summary>Nothing: when its turn came it was not idle any more, had been busy in between, or had ended by itself.</summary>
    NoLongerIdle,

    /// <summary>Nothing: it is within a transaction, which would be lost, and that was not asked for.</summary>
    InTransaction,

    /// <summary>Nothing: it is a connection of this pool, which closes what it does not need by itself.</summary>
    OfThisPool,

    /// <summary>Nothing: the server does not let the pool's role end it. It takes the same role, <c>pg_signal_backend</c>, or for a superuser's session a superuser.</summary>
    NotPermitted,

    /// <summary>Nothing: the session is a pooler's, and whom it serves is not known. Ask from a pool that is connected directly.</summary>
    BehindPooler,
}
