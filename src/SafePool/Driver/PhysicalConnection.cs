using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>What the pool knows about one physical connection.</summary>
internal sealed class PhysicalConnection(int generation, long openedAt, long expiresAt, bool isDirect)
{
    public int Generation { get; } = generation;

    /// <summary>No pooler stands between it and its backend, so the process id it reports is the backend's.</summary>
    public bool IsDirect { get; set; } = isDirect;

    /// <summary>Who it is, by what its server said when it was opened.</summary>
    public SessionIdentity Identity { get; set; } = SessionIdentity.Unknown;

    /// <summary>Under which name it was reached. Good for reaching the same again, perhaps; it proves nothing: a name may lead to several servers, and to others tomorrow.</summary>
    public HostName? Host { get; set; }

    /// <summary>The host of the pool that it was opened through; null where tests have none.</summary>
    public ServerDataSource? Server { get; set; }

    /// <summary>The data source that it was opened with, which may have been replaced since; null where tests have none.</summary>
    public DriverPool? Driver { get; set; }

    /// <summary>What its server was when it was opened.</summary>
    public HostRole Role { get; set; }

    /// <summary>When it is too old, as a timestamp of the pool's clock. Drawn once, when it was opened, unless it <see cref="PhysicalConnections.Expire"/>s.</summary>
    public long ExpiresAt { get; set; } = expiresAt;

    /// <summary>When it was opened, as a timestamp of the pool's clock.</summary>
    public long OpenedAt { get; } = openedAt;

    /// <summary>When the pool last had an answer over it, as a timestamp of the pool's clock: what leases do is not noted.</summary>
    public long SeenAt { get; set; } = openedAt;

    /// <summary>When the pool last began to ask something over it, as a timestamp of the pool's clock.</summary>
    public long AskedAt { get; set; } = openedAt;

    /// <summary>The pool's last question has had no answer in time, and none since.</summary>
    public bool IsSilent { get; set; }

    /// <summary>It broke because the pool has given up its question: no other has ended with it.</summary>
    public bool BrokeAlone { get; set; }

    /// <summary>
    /// A late cancel may still be on its way to it: one round trip must absorb that before the connection is used again.
    /// </summary>
    public bool NeedsFlush { get; set; }

    /// <summary>
    /// Its prepared statements must be dropped before it is used again: it was closed by its user, or along with a reader, so that
    /// nothing could be said to the server on the way.
    /// </summary>
    public bool NeedsUnprepare { get; set; }

    /// <summary>A <c>statement_timeout</c> of one lease must be undone before it is used again.</summary>
    public bool NeedsTimeoutReset { get; set; }

    /// <summary>It may come to rest as the lease left it: Npgsql resets nothing of what was closed within a <c>TransactionScope</c>.</summary>
    public bool NeedsReset { get; set; }

    /// <summary>Whether anything must be said to the server before it is used again.</summary>
    public bool IsUntidy => NeedsFlush || NeedsReset || NeedsUnprepare || NeedsTimeoutReset;

    /// <summary>The last round of the idle sweep that came by; the sweep's own.</summary>
    public long Round { get; set; }

    /// <summary>It was closed by the pool.</summary>
    public bool IsRetired { get; set; }
}
