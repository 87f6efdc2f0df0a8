namespace SafePool;

/// <summary>What a leased connection is doing.</summary>
public enum LeaseActivity
{
    /// <summary>No command runs and no reader is open; nor is a transaction, as far as is known.</summary>
    Idle = 0,

    /// <summary>The same, but inside a transaction that was begun by <see cref="Lease.BeginTransaction"/>, or that the server told of.</summary>
    IdleInTransaction,

    /// <summary>A command runs.</summary>
    Running,

    /// <summary>A reader, a <c>COPY</c> or a wait for notifications is open.</summary>
    Reading,

    /// <summary>Nothing: the lease was returned within a <c>TransactionScope</c>, and its place is kept until the transaction ends.</summary>
    AwaitingTransaction,
}
