namespace SafePool.Driver;

/// <summary>Who a session is, by what its server said when it was greeted. What the role may not ask, or the server does not know, is null: nothing is then proven.</summary>
internal sealed record SessionIdentity
{
    /// <summary>Nothing is known.</summary>
    public static SessionIdentity Unknown { get; } = new();

    /// <summary>The server on which it is.</summary>
    public ServerIdentity? Server { get; init; }

    /// <summary>The process id of the backend that served it, by its own word: behind a pooler not the one that the connection reports.</summary>
    public int? ProcessId { get; init; }

    /// <summary>Its <c>backend_start</c>, in microseconds since 1970. Process ids are used again; with this they are not.</summary>
    public long? StartedAt { get; init; }

    /// <summary>The server was a standby.</summary>
    public bool? IsInRecovery { get; init; }

    /// <summary>The session took no writes, whatever the reason: <c>transaction_read_only</c>.</summary>
    public bool? IsReadOnly { get; init; }

    /// <summary>Whether another session can prove that a backend is this one.</summary>
    public bool IsProvable => Server is not null && ProcessId is not null && StartedAt is not null;

    /// <summary>Whether it may be the one that somebody found: what is unknown of either speaks for it.</summary>
    public bool MayBe(ServerIdentity? server, int processId, long? startedAt)
        => (ProcessId is null || ProcessId == processId)
            && (Server is null || server is null || Server == server)
            && (StartedAt is null || startedAt is null || StartedAt == startedAt);
}
