using System.Data;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Transactions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SafePool.Admission;
using SafePool.Connections;
using SafePool.Leaks;
using SafePool.Leases;
using SafePool.Maintenance;
using SafePool.Options;
using SafePool.Telemetry;

namespace SafePool;

/// <summary>A bounded pool of PostgreSQL connections that lends them as leases, takes every one back, and says who holds what when it runs out.</summary>
/// <remarks>
/// <para>Build one per database and keep it as long as the process. Every member may be called from any thread.</para>
/// <para>
/// The way of a rent: <c>RentAsync → AdmissionGate.TryTake → IConnectionSource.TryTake → LeaseSlot.Issue → Lease</c>. The way of a return:
/// <c>Lease.Dispose → LeaseSlot.TrySettle → IConnectionSource.Close → AdmissionGate.TryGiveBack</c>. When a rent has to wait, or a return has to
/// talk to the server, it leaves this page: see <see cref="RentDesk"/> and <see cref="ConnectionReturner"/>.
/// </para>
/// </remarks>
public sealed class ConnectionPool : IConnectionPool
{
    private readonly PoolSettings _settings;
    private readonly PoolClock _clock;
    private readonly AdmissionGate _gate;
    private readonly LeaseLedger _ledger;
    private readonly IConnectionSource _source;
    private readonly PhysicalConnections _physicals;
    private readonly ConnectionOpener _opener;
    private readonly ConnectionReturner _returner;
    private readonly RentDesk _desk;
    private readonly DroppedLeases _dropped;
    private readonly WarmUp _warmUp;
    private readonly Upkeep _upkeep;
    private readonly MaintenanceLoop _loop;
    private readonly ILogger _logger;
    private readonly bool _issuesAtOnce;
    private int _isDisposed;

    /// <summary>Creates a pool. Connects to nothing yet.</summary>
    /// <param name="options">Checked as a whole, and frozen.</param>
    /// <param name="loggerFactory">Where warnings about leaks and failures go; nowhere by default.</param>
    /// <param name="timeProvider">The clock; the system's by default.</param>
    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">Something is wrong with the options: every fault is listed.</exception>
    public ConnectionPool(ConnectionPoolOptions options, ILoggerFactory? loggerFactory = null, TimeProvider? timeProvider = null)
        : this(ConnectionPoolOptionsValidator.Settle(options), loggerFactory, timeProvider ?? TimeProvider.System, sourceFactory: null)
        => options.Freeze();

    /// <summary>The same with another source of connections: the seam for deterministic tests.</summary>
    internal ConnectionPool(
        PoolSettings settings,
        ILoggerFactory? loggerFactory,
        TimeProvider timeProvider,
        Func<PhysicalConnections, IConnectionSource>? sourceFactory)
    {
        _settings = settings;
        _logger = new GuardedLogger((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger("SafePool"));
        _clock = new PoolClock(timeProvider);
        _physicals = new PhysicalConnections(settings, _clock);
        _source = sourceFactory?.Invoke(_physicals) ?? new NpgsqlConnectionSource(settings, _physicals, timeProvider, _logger);
        _gate = new AdmissionGate(settings.MaxSize, settings.MaxWaiters, settings.MaxConcurrentOpens);
        _ledger = new LeaseLedger(this, settings.MaxSize, _clock);
        _opener = new ConnectionOpener(settings, _gate, _ledger, _source, _physicals, timeProvider, _logger);
        _returner = new ConnectionReturner(settings, _gate, _opener, _source, _physicals, timeProvider, _logger);
        _dropped = new DroppedLeases(settings, _clock, _gate, _ledger, _source, _returner, _logger);
        _desk = new RentDesk(GetSnapshot, settings, _clock, _gate, _ledger, _source, _physicals, _opener, _returner);
        _warmUp = new WarmUp(settings, _clock, _gate, _opener, GetSnapshot);
        _upkeep = new Upkeep(settings, _clock, _gate, _ledger, _source, _physicals, _opener, _returner, _dropped, _logger);
        _issuesAtOnce = settings.LeaseRented is null;
        _loop = new MaintenanceLoop(this, timeProvider);
    }

    /// <summary>Gets the pool's name in messages and logs.</summary>
    public string Name => _settings.Name;

    internal AdmissionGate Gate => _gate;

    /// <summary>Creates a pool. Connects to nothing yet.</summary>
    /// <param name="connectionString">An Npgsql connection string.</param>
    /// <param name="configure">Changes the defaults.</param>
    /// <returns>The pool; dispose it when the process ends.</returns>
    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">Something is wrong with the options: every fault is listed.</exception>
    public static ConnectionPool Create(string connectionString, Action<ConnectionPoolOptions>? configure = null)
    {
        var options = new ConnectionPoolOptions { ConnectionString = connectionString };
        configure?.Invoke(options);
        return new ConnectionPool(options);
    }

    /// <summary>Rents a connection: an idle one at once, or waits for the first that is opened or comes back.</summary>
    /// <param name="cancellationToken">Gives up the place in the queue. A connection that is being opened is kept for the next caller.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="PoolExhaustedException">No lease came back within <see cref="ConnectionPoolOptions.AcquireTimeout"/>.</exception>
    /// <exception cref="PoolRejectedException"><see cref="ConnectionPoolOptions.MaxWaiters"/> callers were waiting already.</exception>
    /// <exception cref="ConnectTimeoutException">There was room, but no connection was open in time.</exception>
    /// <exception cref="NpgsqlException">A connection could not be opened.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="InvalidOperationException">An ambient <c>TransactionScope</c> is in force and the connection string does not say <c>Enlist=false</c>.</exception>
    [OverloadResolutionPriority(1)]
    public ValueTask<Lease> RentAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        LeaseSlot? slot = null;
        return !cancellationToken.IsCancellationRequested && TryTake(out slot)
            ? new ValueTask<Lease>(Issue(slot, site))
            : _desk.RentAsync(site, options: null, blocking: false, slot, cancellationToken);
    }

    /// <summary>Rents a connection with options of its own.</summary>
    /// <param name="options">What this rent does differently.</param>
    /// <param name="cancellationToken">Gives up the place in the queue. A connection that is being opened is kept for the next caller.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/exception"/>
    public ValueTask<Lease> RentAsync(
        RentOptions options,
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(options);
        return _desk.RentAsync(new RentSite(member, file, line), options, blocking: false, held: null, cancellationToken);
    }

    /// <summary>Rents a connection for a caller who blocks.</summary>
    /// <remarks>Stands in the same queue as asynchronous callers, and is served also while the thread pool is starved.</remarks>
    /// <param name="options">What this rent does differently, if anything.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>A lease. Dispose it, best by <c>using</c>.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/exception"/>
    public Lease Rent(
        RentOptions? options = null,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        LeaseSlot? slot = null;
        return options is null && TryTake(out slot)
            ? Issue(slot, site)
            : Synchronously.Result(_desk.RentAsync(site, options, blocking: true, slot, CancellationToken.None));
    }

    /// <summary>Rents a connection if one is idle. Never waits in the queue and never opens one.</summary>
    /// <param name="lease">The lease, or <c>default</c>.</param>
    /// <param name="member">Filled in by the compiler: named in reports about this lease.</param>
    /// <param name="file">Filled in by the compiler: its name, without the path, is in reports about this lease.</param>
    /// <param name="line">Filled in by the compiler: named in reports about this lease.</param>
    /// <returns>Whether there was one.</returns>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="InvalidOperationException">An ambient <c>TransactionScope</c> is in force and the connection string does not say <c>Enlist=false</c>.</exception>
    public bool TryRent(
        out Lease lease,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        var taken = TryTake(out var slot);
        lease = taken ? Issue(slot!, site) : default;
        return taken || _desk.TryRent(site, slot, out lease);
    }

    /// <summary>Rents a connection as a plain <see cref="NpgsqlConnection"/>: a drop-in for <see cref="NpgsqlDataSource.OpenConnectionAsync"/>.</summary>
    /// <remarks>
    /// Closing or disposing it returns it; opening it again is refused. Unlike a <see cref="Lease"/> it cannot be found when it is lost, a
    /// reader that is open when it is closed is read to its end, and <see cref="ConnectionPoolOptions.LeaseReturning"/> does not run for it.
    /// </remarks>
    /// <returns>An open connection.</returns>
    /// <inheritdoc cref="RentAsync(CancellationToken, string, string, int)" path="/*[not(self::summary or self::returns)]"/>
    public async ValueTask<NpgsqlConnection> OpenConnectionAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
        => _desk.Detach(await RentAsync(cancellationToken, member, file, line).ConfigureAwait(false));

    /// <summary>Rents a connection as a plain <see cref="NpgsqlConnection"/>: a drop-in for <see cref="NpgsqlDataSource.OpenConnection"/>.</summary>
    /// <returns>An open connection.</returns>
    /// <inheritdoc cref="OpenConnectionAsync" path="/*[not(self::summary or self::returns or self::param[@name='cancellationToken'])]"/>
    public NpgsqlConnection OpenConnection(
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
        => _desk.Detach(Rent(null, member, file, line));

    /// <summary>Opens connections until <see cref="ConnectionPoolOptions.MinSize"/> exist, <see cref="ConnectionPoolOptions.MaxConcurrentOpens"/> at a time.</summary>
    /// <remarks>Requests that come in the meantime are served first. Without it, maintenance does the same in the background, quietly.</remarks>
    /// <param name="cancellationToken">Ends the waiting; opens that are under way go on.</param>
    /// <returns>A task that ends when they are open.</returns>
    /// <exception cref="NpgsqlException">Opens kept failing for <see cref="ConnectionPoolOptions.AcquireTimeout"/>; this is what the last one threw.</exception>
    /// <exception cref="PoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Task WarmUpAsync(CancellationToken cancellationToken = default) => _warmUp.RunAsync(cancellationToken);

    /// <summary>Retires every physical connection: the idle ones now, the leased ones when they come back.</summary>
    /// <remarks>For a changed password, role or server. Leases that are out go on working.</remarks>
    public void Clear()
    {
        _physicals.Advance();
        var idle = _gate.Idle;
        _source.Clear();
        while (idle-- > 0 && _gate.TryTake(out var place))
        {
            if (_source.TryTake() is { } survivor)
            {
                // Opened after the clear, by somebody else.
                _source.Close(survivor);
                _opener.HandOn(_ledger[place]);
            }
            else
            {
                _physicals.CountClosed();
                _opener.Vacate(place);
            }
        }

        Log.Cleared(_logger, Name);
    }

    /// <summary>Closes the pool for good: refuses new rents, fails the waiters, closes what is idle, and waits for the leases.</summary>
    /// <param name="timeout">How long to wait; <see cref="Timeout.InfiniteTimeSpan"/> waits for ever.</param>
    /// <param name="cancellationToken">Ends the waiting; the pool stays closed.</param>
    /// <returns>Whether all came back, and who is left.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        var begun = _clock.Exact;
        CloseGate();
        var drained = true;
        try
        {
            await _gate.AllBack.WaitAsync(timeout, _clock.Provider, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            drained = false;
        }

        return new DrainReport(drained, _ledger.Holders(), _clock.Since(begun));
    }

    /// <summary>Takes a picture of the pool. Allocates, never waits.</summary>
    /// <returns>Counts, totals and holders, read one after the other while the pool goes on.</returns>
    public PoolSnapshot GetSnapshot()
    {
        var counts = _gate.Read();
        return new PoolSnapshot
        {
            Name = Name,
            MaxSize = counts.Places,
            Leased = counts.Leased,
            Idle = counts.Idle,
            Opening = counts.Opening,
            Quarantined = counts.Quarantined,
            Waiting = counts.Waiting,
            LastConnectError = _opener.LastError,
            Holders = _ledger.Holders(),
            TotalRents = _ledger.TotalRents,
            TotalWaits = _desk.TotalWaits,
            TotalTimeouts = _desk.TotalTimeouts,
            TotalRejected = _desk.TotalRejected,
            TotalOpened = _physicals.TotalOpened,
            TotalClosed = _physicals.TotalClosed,
            TotalLeaksReported = _dropped.TotalReclaimed,
            TotalReclaimed = _dropped.TotalReclaimed,
        };
    }

    /// <summary>Closes the pool without patience: waiters fail, what is idle is closed, leases are closed when they come back.</summary>
    public void Dispose()
    {
        if (Shut())
        {
            _source.Dispose();
        }
    }

    /// <summary>Closes the pool without patience: waiters fail, what is idle is closed, leases are closed when they come back.</summary>
    /// <returns>A task that ends when that is done.</returns>
    public async ValueTask DisposeAsync()
    {
        if (Shut())
        {
            await _source.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>The name and the counts, for the debugger.</summary>
    /// <returns>One line.</returns>
    public override string ToString()
    {
        var counts = _gate.Read();
        return $"Pool '{Name}': {counts.Leased} of {counts.Places} leased, {counts.Idle} idle, {counts.Opening} opening, {counts.Waiting} waiting";
    }

    internal void Return(LeaseHandle handle, long leaseId)
    {
        var slot = handle.Slot;
        if (!slot.TrySettle(leaseId))
        {
            return;
        }

        handle.Rest();
        // A transaction that the lease began may still be open: closing would roll it back all the same, but unsaid.
        if (slot.LastTransaction is not null || !IsPlain(slot))
        {
            Synchronously.Result(_returner.ReturnAsync(slot, blocking: true));
            return;
        }

        try
        {
            _source.Close(slot.Connection!);
        }
        catch (Exception error)
        {
            Synchronously.Result(_returner.RescueAsync(slot, error, blocking: true));
            return;
        }

        PutToRest(slot);
    }

    internal ValueTask ReturnAsync(LeaseHandle handle, long leaseId)
    {
        var slot = handle.Slot;
        if (!slot.TrySettle(leaseId))
        {
            return ValueTask.CompletedTask;
        }

        handle.Rest();
        if (!IsPlain(slot))
        {
            return _returner.ReturnAsync(slot, blocking: false);
        }

        var closing = _source.CloseAsync(slot.Connection!);
        if (!closing.IsCompletedSuccessfully)
        {
            return _returner.FinishAsync(slot, closing);
        }

        PutToRest(slot);
        return ValueTask.CompletedTask;
    }

    internal void Cancel(LeaseSlot slot, NpgsqlConnection connection) => _desk.Cancel(slot, connection);

    internal void OnDropped(LeaseSlot slot, long leaseId) => _dropped.Report(slot, leaseId);

    internal void Maintain()
    {
        _clock.Refresh();
        _ = _upkeep.RunAsync();
    }

    /// <summary>Takes an idle connection. False with a slot: the place is held, but its connection is missing or needs a closer look.</summary>
    private bool TryTake([NotNullWhen(true)] out LeaseSlot? slot)
    {
        if (!_issuesAtOnce || (_settings.RefusesAmbientTransactions && Transaction.Current is not null) || !_gate.TryTake(out var place))
        {
            slot = null;
            return false;
        }

        slot = _ledger[place];
        slot.Connection = _source.TryTake();
        // Read after the take: a clear in between then passes for a connection that is too old to keep, never for one that is kept.
        slot.Generation = _physicals.Generation;
        return slot.Connection is not null && !_physicals.NeedsCare;
    }

    private Lease Issue(LeaseSlot slot, in RentSite site)
    {
        var handle = slot.Handle!;
        slot.Handle = null;
        return new Lease(handle, slot.Issue(site, options: null, _clock.Coarse));
    }

    private bool IsPlain(LeaseSlot slot)
        => !_returner.HasCeremony
            && slot.Options is null
            && slot.Generation == _physicals.Generation
            && !_physicals.NeedsCare
            && _source.StateOf(slot.Connection!) == ConnectionState.Open;

    private void PutToRest(LeaseSlot slot)
    {
        slot.Reset();
        if (!_gate.TryGiveBack(slot.Place))
        {
            _opener.HandOn(slot);
        }
    }

    private void CloseGate()
    {
        var idle = _gate.Close();
        _physicals.Advance();
        _source.Clear();
        _physicals.CountClosed(idle);
    }

    private bool Shut()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 1)
        {
            return false;
        }

        CloseGate();
        _loop.Dispose();
        _opener.Dispose();
        return true;
    }
}
