namespace SafePool.Driver.Poolers;

/// <summary>What stands between the pool and its server.</summary>
internal enum PathKind
{
    /// <summary>Nobody has looked yet: no connection was opened.</summary>
    Unexplored = 0,

    /// <summary>Nothing, or something that cannot be told from it.</summary>
    Direct,

    /// <summary>A pooler that leaves a backend to a connection for as long as that lives, as far as could be found out.</summary>
    SessionPooler,

    /// <summary>A pooler that leaves a backend to a connection for one transaction: nothing said outside of one stays with the lease.</summary>
    TransactionPooler,

    /// <summary>A pooler that did not let itself be asked which of the two it is.</summary>
    UncertainPooler,
}

/// <summary>How the pool's timeouts get to the server on this path.</summary>
internal enum TimeoutWay
{
    /// <summary>The pool has nothing to say: there are none, they are in force already, or they are none of its business.</summary>
    Unsaid = 0,

    /// <summary>By <c>SET</c>, for every lease.</summary>
    PerLease,

    /// <summary>By <c>SET LOCAL</c>, in transactions that the lease begins.</summary>
    PerTransaction,
}

/// <summary>The way from the pool to its server: found out at the first open of every generation, and kept for that.</summary>
/// <remarks>
/// Thread-safety: every member may be called from any thread. It is settled before any connection of the generation comes to rest or is leased; what was found out before holds until then,
/// for the leases that are out. Within a generation it changes only if a connection contradicts it (<see cref="Doubt"/>), or a lease does: see <see cref="TryDemote"/> and <see cref="TryDoubtSessions"/>.
/// </remarks>
internal sealed class ServerPath
{
    private readonly Lock _gate = new();
    private volatile PathKind _kind;
    private volatile TimeoutWay _way;
    private volatile bool _setsPerLease;
    private volatile bool _isSettled;
    private bool _isKept;
    private PathKind? _movesFrom;
    private bool _hasMoved;

    public PathKind Kind => _kind;

    public TimeoutWay Way => _way;

    /// <summary>Whether it was found out in this generation.</summary>
    public bool IsKnown => _isSettled;

    /// <summary>Whether a lease costs words with the server before it begins. The hot path's question.</summary>
    public bool SetsPerLease => _setsPerLease;

    /// <summary>Whether what is said outside of a transaction may reach somebody else's session.</summary>
    public bool SharesSessions => _kind is PathKind.TransactionPooler or PathKind.UncertainPooler;

    /// <summary>Whether a session reset would hit whichever backend is next, and undo nothing of this lease's.</summary>
    public bool ForbidsReset => _kind == PathKind.TransactionPooler;

    /// <summary>What is to be done about timeouts that a strategy wants and the server does not have.</summary>
    public static TimeoutWay WayOf(PathKind kind, TimeoutStrategy strategy, bool isMissing) => strategy switch
    {
        TimeoutStrategy.Startup or TimeoutStrategy.None => TimeoutWay.Unsaid,
        TimeoutStrategy.Auto when !isMissing => TimeoutWay.Unsaid,
        _ => kind is PathKind.Direct or PathKind.SessionPooler ? TimeoutWay.PerLease : TimeoutWay.PerTransaction,
    };

    /// <summary>Keeps what was found out first. False when somebody else has found out something before.</summary>
    public bool TrySettle(PathKind kind, TimeoutWay way)
    {
        lock (_gate)
        {
            if (IsKnown)
            {
                return false;
            }

            _way = way;
            _setsPerLease = way == TimeoutWay.PerLease;

            // That it is by session after all changes nothing for what is open.
            _hasMoved |= _isKept = _movesFrom is { } before && before != kind && (before, kind) is not (PathKind.UncertainPooler, PathKind.SessionPooler);
            _movesFrom = null;
            _kind = kind;
            _isSettled = true;
            return true;
        }
    }

    /// <summary>It is to be found out anew. What is known holds until then.</summary>
    public void Forget()
    {
        lock (_gate)
        {
            // The clear that follows a move or a demotion is its consequence: another survey would find the same, or be mistaken in the same way.
            _isSettled &= _isKept;
            _isKept = false;
            _movesFrom = null;
        }
    }

    /// <summary>The same in the midst of a generation, because a connection contradicts what is known.</summary>
    public void Doubt()
    {
        lock (_gate)
        {
            _movesFrom ??= _kind;
            _isSettled = false;
        }
    }

    /// <summary>Whether another path was found in the midst of a generation: then what was opened before must go. True once.</summary>
    public bool TryTakeMove()
    {
        lock (_gate)
        {
            return _hasMoved && !(_hasMoved = false);
        }
    }

    /// <summary>A connection has met another backend than its own: so it has none of its own. True for the first who says so.</summary>
    public bool TryDemote()
    {
        lock (_gate)
        {
            if (SharesSessions)
            {
                return false;
            }

            _kind = PathKind.TransactionPooler;
            _isKept = true;
            _setsPerLease = false;
            _way = _way == TimeoutWay.PerLease ? TimeoutWay.PerTransaction : _way;
            return true;
        }
    }

    /// <summary>The server does not let it be proven that a lease has a session of its own: a pooler by transaction cannot be excluded any more. True for the first who says so.</summary>
    public bool TryDoubtSessions()
    {
        lock (_gate)
        {
            if (!_setsPerLease)
            {
                return false;
            }

            (_kind, _way) = (PathKind.UncertainPooler, TimeoutWay.PerTransaction);
            _setsPerLease = false;
            return true;
        }
    }
}
