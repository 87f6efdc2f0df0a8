namespace SafePool;

/// <summary>Why <see cref="IConnectionPool.TryRentAsync"/> gave no lease.</summary>
public enum RefusalReason
{
    /// <summary>It gave one.</summary>
    None,

    /// <summary>No lease came back in time: what <see cref="PoolExhaustedException"/> says.</summary>
    Exhausted,

    /// <summary><see cref="ConnectionPoolOptions.MaxWaiters"/> callers were waiting already: what <see cref="PoolRejectedException"/> says.</summary>
    Rejected,

    /// <summary>The server has been out of reach for too long: what <see cref="CircuitOpenException"/> says.</summary>
    CircuitOpen,

    /// <summary>There was room, but no connection was open in time: what <see cref="ConnectTimeoutException"/> says.</summary>
    ConnectTimeout,

    /// <summary>The pool is paused: what <see cref="PoolPausedException"/> says.</summary>
    Paused,

    /// <summary>The pool is draining or disposed: what <see cref="PoolClosedException"/> says.</summary>
    Closed,
}
