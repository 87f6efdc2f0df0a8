using System.Runtime.CompilerServices;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Maintenance;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>The physical connections by identity, and whether any of them needs a closer look before it is used.</summary>
/// <remarks>
/// <para>
/// The identity of a physical connection is an object that Npgsql keeps for it (its parameters). The table holds it weakly: Npgsql does
/// not tell when it closes one, but then the object becomes garbage.
/// </para>
/// <para>
/// The hot path asks two questions of it, each one read: <see cref="NeedsCare"/>, and whether <see cref="Generation"/> has moved since
/// the connection was taken. Everything else is for when the answer was yes.
/// </para>
/// </remarks>
internal sealed class PhysicalConnections(PoolSettings settings, PoolClock clock)
{
    private const double LifetimeJitter = 0.1;

    private static readonly TimeSpan _grace = TimeSpan.FromMilliseconds(250);

    private volatile PoolSettings _settings = settings;

    private readonly ConditionalWeakTable<object, PhysicalConnection> _known = [];
    private volatile int _generation;
    private volatile bool _needsCare;
    private volatile bool _hasDue;
    private readonly Lock _care = new();
    private int _awaited;
    private int _asks;
    private int _settledAsks;
    private long _askedSince = long.MinValue;
    private long _nextExpiry = long.MaxValue;
    private int _requests;
    private long _opened;
    private long _closed;

    // How many were found by an open before they were missed; below zero, how many were missed that none has found.
    private long _found;

    /// <summary>Grows with every <c>Clear</c>: what was taken under an older one is retired when it comes back.</summary>
    public int Generation => _generation;

    /// <summary>Whether some connection must be looked at before it is handed out or put to rest.</summary>
    public bool NeedsCare => _needsCare;

    /// <summary>Whether the maintenance loop has found one that must be looked at, whoever wants it or nobody.</summary>
    public bool HasDue => _hasDue;

    public long TotalOpened => Volatile.Read(ref _opened);

    public long TotalClosed => Volatile.Read(ref _closed);

    public PhysicalConnection? Find(object identity) => _known.TryGetValue(identity, out var physical) ? physical : null;

    public PhysicalConnection Register(object identity, int generation, bool isDirect)
    {
        Interlocked.Increment(ref _opened);
        var lifetime = _settings.MaxLifetime;
        if (lifetime != Timeout.InfiniteTimeSpan)
        {
#pragma warning disable CA5394 // Spreads retirements; nothing is secret about it.
            lifetime *= 1 + (LifetimeJitter * ((2 * Random.Shared.NextDouble()) - 1));
#pragma warning restore CA5394
        }

        var now = clock.Exact;
        var physical = new PhysicalConnection(generation, now, clock.After(now, lifetime), isDirect);
        _known.Add(identity, physical);
        LowerNextExpiry(physical.ExpiresAt);
        return physical;
    }

    /// <summary>Starts a new generation, unless somebody did since <paramref name="seen"/>.</summary>
    public bool TryAdvance(int seen) => Interlocked.CompareExchange(ref _generation, seen + 1, seen) == seen;

    public void Advance() => Interlocked.Increment(ref _generation);

    /// <summary>One that was registered is none of the pool's after all, and is ended before anybody gets it.</summary>
    public void Disown(PhysicalConnection physical)
    {
        physical.IsRetired = true;
        Interlocked.Decrement(ref _opened);
    }

    public void CountClosed(int count = 1) => Interlocked.Add(ref _closed, count);

    /// <summary>An open has brought, to a place that keeps it, one that lay at rest under another. There it will be missed, which is then no end; or it was, and is open again.</summary>
    /// <remarks>
    /// Nobody can say which place it lay under, so finds and misses are matched by number. In whatever order they come: opened - closed = places that have a connection - those found and not missed yet. Where a miss was an end after all, and the
    /// find is matched with that, both totals are one too high; their difference is right. One atomic step each, so nothing comes in between.
    /// </remarks>
    public void NoteFoundAtRest()
    {
        if (Interlocked.Increment(ref _found) <= 0)
        {
            Interlocked.Increment(ref _opened);
        }
    }

    /// <summary>Nothing was at rest under so many places, or will be: what was there has ended, unless it was found before.</summary>
    public void CountMissing(int count = 1)
    {
        var found = Interlocked.Add(ref _found, -count) + count;
        CountClosed(count - (int)Math.Clamp(found, 0, count));
    }

    /// <summary>Announces that something was noted on a connection which must be seen to before it is used again.</summary>
    public void RequireCare()
    {
        Interlocked.Increment(ref _requests);
        Volatile.Write(ref _nextExpiry, long.MinValue);
        _needsCare = true;
    }

    /// <summary>From now on each is asked for a sign of life when it is handed out, once, if nothing was heard of it before.</summary>
    public void RequireProbes()
    {
        lock (_care)
        {
            Volatile.Write(ref _askedSince, clock.Exact);
            AskOn();
        }
    }

    /// <summary>Somebody begins to wait for what comes back next (1), or ends it (-1): until then no return is plain.</summary>
    public void NoteAwaited(int change)
    {
        lock (_care)
        {
            _awaited += change;
            _needsCare = true;
        }
    }

    /// <summary>The asking goes on: one that was leased when it ended is coming to rest.</summary>
    public void ResumeProbes()
    {
        lock (_care)
        {
            AskOn();
        }
    }

    /// <summary>Whether one at rest may have to be asked (<see cref="UnheardConnections"/> ends it).</summary>
    public bool IsAsking => Volatile.Read(ref _asks) != Volatile.Read(ref _settledAsks);

    /// <summary>Grows whenever the asking begins or goes on.</summary>
    public int Asks => Volatile.Read(ref _asks);

    /// <summary>Nothing is left to be asked, unless the asking has begun again since <paramref name="asks"/> was read.</summary>
    public void EndProbes(int asks) => Volatile.Write(ref _settledAsks, asks);

    /// <summary>Whether one that is handed out now is to be asked. Not one that was opened since: opening it was an answer.</summary>
    public bool IsUnheard(PhysicalConnection physical) => physical.SeenAt < Volatile.Read(ref _askedSince);

    /// <summary>Those that are to be asked, wherever they are: one that has just ended by itself may be among them.</summary>
    public HashSet<PhysicalConnection> FindUnheard()
        => [.. _known.Select(entry => entry.Value).Where(physical => physical.Generation == _generation && IsOfUse(physical) && IsUnheard(physical))];

    /// <summary>The earliest moment at which one may be due, as a timestamp of the pool's clock.</summary>
    public long NextExpiry => Volatile.Read(ref _nextExpiry);

    /// <summary>The pool begins to ask something over it.</summary>
    public void NoteAsked(PhysicalConnection physical) => physical.AskedAt = clock.Exact;

    /// <summary>For a question whose end somebody waits for: it is given up a little after he has left.</summary>
    public CancellationTokenSource BeginPatience() => new(PoolSettings.ReturnPatience + _grace, clock.Provider);

    /// <summary>The server has answered over it.</summary>
    public void NoteSeen(PhysicalConnection physical)
    {
        physical.SeenAt = clock.Exact;
        physical.IsSilent = false;
    }

    /// <summary>The server has not answered over it in time.</summary>
    public static void NoteSilent(PhysicalConnection physical) => physical.IsSilent = physical.SeenAt < physical.AskedAt;

    /// <summary>It may come to rest, but nobody gets it any more: whoever takes it next retires it.</summary>
    public void Expire(PhysicalConnection physical)
    {
        physical.ExpiresAt = long.MinValue;
        RequireCare();
    }

    /// <summary>Whether it is too old: then it is about to be ended, and nobody gets it.</summary>
    public bool IsExpired(PhysicalConnection physical) => clock.Exact >= physical.ExpiresAt;

    /// <summary>Changes how long those that are opened from now on may live, and how quiet any may be before it is asked.</summary>
    public void Apply(PoolSettings settings) => _settings = settings;

    /// <summary>Those of its sessions that may be found among others on the server; also such that have just ended, and of earlier generations.</summary>
    public OwnSessions FindSessions()
        => new([.. _known.Select(entry => entry.Value).Where(physical => physical is { IsDirect: true, IsRetired: false }).Select(physical => physical.Identity)]);

    /// <summary>Where the pool is: the servers of its connections, but for those of earlier generations, which are on their way out.</summary>
    public OwnServers FindServers()
    {
        PhysicalConnection[] present = TotalOpened > TotalClosed
            ? [.. _known.Select(entry => entry.Value).Where(physical => !physical.IsRetired && physical.Generation == _generation)]
            : [];
        return new OwnServers(
            present.MaxBy(physical => physical.OpenedAt)?.Host,
            present.Select(physical => physical.Identity.Server).OfType<ServerIdentity>().ToHashSet(),
            IsUncertain: present.Any(physical => !physical.IsDirect || physical.Identity.Server is null));
    }

    /// <summary>About how many of this generation lead to a host: one that has just ended by itself may be among them.</summary>
    public int CountAt(ServerDataSource server)
        => _known.Count(entry => entry.Value.Server == server && entry.Value.Generation == _generation && IsOfUse(entry.Value));

    /// <summary>Those of this generation that lead to a host, and may still be handed out.</summary>
    public IReadOnlyList<PhysicalConnection> At(ServerDataSource server) => In(_generation, server);

    /// <summary>Those of a generation that may still be handed out, at one host or, with null, at any. One that has just ended by itself may be among them.</summary>
    public IReadOnlyList<PhysicalConnection> In(int generation, ServerDataSource? server)
        => [.. _known.Select(entry => entry.Value).Where(physical => physical.Generation == generation && (server is null || physical.Server == server) && IsOfUse(physical))];

    private static bool IsOfUse(PhysicalConnection physical) => !physical.IsRetired && physical.ExpiresAt != long.MinValue;

    /// <summary>Looks through all connections when one of them is due; called by the maintenance loop.</summary>
    /// <param name="hasSurplus">Some are too many: whichever comes back first is to be looked at.</param>
    public void Refresh(bool hasSurplus)
    {
        var requests = Volatile.Read(ref _requests);
        _hasDue = IsAnyDue(clock.Exact);
        lock (_care)
        {
            // Not for a moment may it be false while something is to be asked, or waited for.
            _needsCare = _hasDue || hasSurplus || IsAsking || _awaited > 0;
        }

        if (Volatile.Read(ref _requests) != requests)
        {
            // Somebody asked in the meantime, and may have been overwritten.
            Volatile.Write(ref _nextExpiry, long.MinValue);
            _hasDue = _needsCare = true;
        }
    }

    private void AskOn()
    {
        Volatile.Write(ref _asks, _asks + 1);
        _needsCare = true;
    }

    private bool IsAnyDue(long now)
    {
        if (now < Volatile.Read(ref _nextExpiry))
        {
            return false;
        }

        Volatile.Write(ref _nextExpiry, long.MaxValue);
        var due = false;
        foreach (var (_, physical) in _known)
        {
            if (physical.IsRetired || physical.Generation != _generation)
            {
                continue;
            }

            due |= physical.IsUntidy || now >= physical.ExpiresAt;
            LowerNextExpiry(physical.IsUntidy ? long.MinValue : physical.ExpiresAt);
        }

        return due;
    }

    private void LowerNextExpiry(long candidate)
    {
        var seen = Volatile.Read(ref _nextExpiry);
        while (candidate < seen)
        {
            var found = Interlocked.CompareExchange(ref _nextExpiry, candidate, seen);
            if (found == seen)
            {
                return;
            }

            seen = found;
        }
    }
}
