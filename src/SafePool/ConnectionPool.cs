using System.Data;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Transactions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SafePool.Admission;
using SafePool.Diagnostics;
using SafePool.Driver;
using SafePool.Driver.Poolers;
using SafePool.Leaks;
using SafePool.Leases;
using SafePool.Lifecycle;
using SafePool.Lifecycle.Enlistments;
using SafePool.Logging;
using SafePool.Maintenance;
using SafePool.Operations;
using SafePool.Options;
using SafePool.Renting;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool;

/// <summary>A bounded pool of PostgreSQL connections that lends them as leases, takes every one back, and says who holds what when it runs out.</summary>
/// <remarks>
/// <para>Build one per database and keep it as long as the process. Every member may be called from any thread.</para>
/// <para>
/// The way of a rent: <c>RentAsync → AdmissionGate.TryTake → IConnectionSource.TryTakeEnlisting → LeaseSlot.Issue → Lease</c>. The way of a return:
/// <c>Lease.Dispose → LeaseSlot.TrySettle → IConnectionSource.Close → AdmissionGate.TryGiveBack</c>. When a rent has to wait, or a return has to
/// talk to the server, it leaves this page: see <see cref="RentDesk"/> and <see cref="ConnectionReturner"/>.
/// </para>
/// </remarks>
public sealed class ConnectionPool : IConnectionPool
{
    private readonly PoolSettings _settings;
    private readonly PoolParts _parts;
    private readonly AdmissionGate _gate;
    private readonly LeaseLedger _ledger;
    private readonly IConnectionSource _source;
    private readonly PhysicalConnections _physicals;
    private readonly ServerPath _path;
    private readonly RestingPlaces _resting;
    private readonly ConnectionOpener _opener;
    private readonly ConnectionReturner _returner;
    private readonly RentDesk _desk;
    private readonly DropInConnections _dropIns;
    private readonly DroppedLeases _dropped;
    private readonly LeakDetector _detector;
    private readonly WarmUp _warmUp;
    private readonly Upkeep _upkeep;
    private readonly SettingsChange _settingsChange;
    private readonly PoolPause _pause;
    private readonly PoolClosing _closing;
    private readonly ServerDesk _serverDesk;
    private readonly PoolClock _clock;
    private readonly QuietTime _quiet;
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
        var logger = new GuardedLogger((loggerFactory ?? NullLoggerFactory.Instance).CreateLogger("SafePool"));
        _parts = new PoolParts(this, settings, logger, timeProvider, sourceFactory);
        (_gate, _ledger, _source, _physicals, _path) = (_parts.Gate, _parts.Ledger, _parts.Source, _parts.Physicals, _parts.Path);
        _clock = _parts.Clock;
        ServerWatch? watching = null;
        _resting = new RestingPlaces(_parts) { Retire = slot => _returner!.Retire(slot), Pump = () => _opener!.Pump(), Relieve = () => watching!.Relieve() };
        _opener = new ConnectionOpener(_parts, _resting);
        var watch = watching = new ServerWatch(_parts, _resting, _opener);
        _quiet = new QuietTime(_parts);
        var ended = new EndedPlaces(_parts, _resting)
        {
            ReturnBroken = slot => _returner!.ReturnBroken(slot),
            Retire = slot => _returner!.Retire(slot),
            NoteReturn = (slot, leaseId) => _detector!.NoteReturn(slot, leaseId),
        };
        var enlisted = new EnlistedPlaces(_parts, _opener, ended);
        _returner = new ConnectionReturner(_parts, _resting, _opener, enlisted);
        var episode = new ExhaustionEpisode(settings.Name, logger, _parts.Clock, _parts.Recorder);
        _desk = new RentDesk(_parts, _resting, _opener, _returner, enlisted, new Refusals(_parts, new Diagnostician(_parts), episode), watch, _quiet);
        var reclaimer = new Reclaimer(_parts, _returner);
        _dropped = new DroppedLeases(_parts, reclaimer);
        _detector = new LeakDetector(_parts, new AbandonedLeases(_parts, reclaimer));
        _dropIns = new DropInConnections(_returner, _detector);
        Governed = new GovernedConnections(_parts, _desk, _returner, _detector);
        _warmUp = new WarmUp(_parts, _opener);
        _upkeep = new Upkeep(_parts, _resting, _opener, _returner, _detector, _dropped, episode, watch, _quiet);
        _settingsChange = new SettingsChange(_parts, _opener, _upkeep);
        var idleQuestion = new IdleQuestion(_parts, _resting, _returner, watch);
        _parts.Failures.Replace = _opener.Replace;
        _parts.Failures.ReadOnly.AskIdle = idleQuestion.AskRoleAsync;
        _pause = new PoolPause(_parts, _opener, watch);
        _closing = new PoolClosing(_parts, watch);
        _serverDesk = new ServerDesk(_parts, idleQuestion);
        _issuesAtOnce = settings is { LeaseRented: null, Reset: not SessionReset.Strict, Leaks.NestedRents: NestedRentPolicy.Off };
        _parts.Loop.Start();
    }

    /// <summary>Closes what a pool that was dropped without being disposed would leave open on the server.</summary>
    ~ConnectionPool()
    {
        // A constructor that threw left none.
        if (_source is { } source)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static source => source.Dispose(), source, preferLocal: false);
            ThreadPool.UnsafeQueueUserWorkItem(static parts => parts.Leave(), _parts, preferLocal: false);
        }
    }

    /// <inheritdoc/>
    public event Action<LeakReport>? LeakReported
    {
        add => _parts.Reports.Reported += value;
        remove => _parts.Reports.Reported -= value;
    }

    /// <inheritdoc/>
    public string Name => _settings.Name;

    /// <summary>The door for SafePool.EntityFrameworkCore.</summary>
    internal GovernedConnections Governed { get; }

    internal bool TracksSites => !_parts.Watch.IsOff;

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

    /// <inheritdoc/>
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
            ? new ValueTask<Lease>(slot.Issue(site))
            : _desk.RentAsync(site, options: null, slot, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<Lease> RentAsync(
        RentOptions options,
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(options);
        return _desk.RentAsync(new RentSite(member, file, line), options, held: null, cancellationToken);
    }

    /// <inheritdoc/>
    public Lease Rent(
        RentOptions? options = null,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        LeaseSlot? slot = null;
        return options is null && TryTake(out slot)
            ? slot.Issue(site)
            : _desk.Rent(site, options, slot);
    }

    /// <inheritdoc/>
    public bool TryRent(
        out Lease lease,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        var taken = TryTake(out var slot);
        lease = taken ? slot!.Issue(site) : default;
        return taken || _desk.TryRent(site, slot, out lease);
    }

    /// <inheritdoc/>
    public ValueTask<RentOutcome> TryRentAsync(
        RentOptions? options = null,
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        var site = new RentSite(member, file, line);
        LeaseSlot? slot = null;
        return options is null && !cancellationToken.IsCancellationRequested && TryTake(out slot)
            ? new ValueTask<RentOutcome>(new RentOutcome(slot.Issue(site)))
            : _desk.TryRentAsync(site, options, slot, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<NpgsqlConnection> OpenConnectionAsync(
        CancellationToken cancellationToken = default,
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
        => _dropIns.DetachAsync(RentAsync(cancellationToken, member, file, line));

    /// <inheritdoc/>
    public NpgsqlConnection OpenConnection(
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
        => _dropIns.Detach(Rent(null, member, file, line));

    /// <inheritdoc/>
    public Task WarmUpAsync(CancellationToken cancellationToken = default) => _warmUp.RunAsync(cancellationToken);

    /// <inheritdoc/>
    public ReconfigureResult Reconfigure(Action<ConnectionPoolOptions> change)
    {
        ArgumentNullException.ThrowIfNull(change);
        return _settingsChange.Make(settings =>
        {
            var options = settings.ToOptions();
            change(options);
            return ConnectionPoolOptionsValidator.Settle(options);
        });
    }

    /// <inheritdoc/>
    public ReconfigureResult Reconfigure(ConnectionPoolOptions options) => _settingsChange.Make(_ => ConnectionPoolOptionsValidator.Settle(options));

    /// <inheritdoc/>
    public Task PauseAsync(CancellationToken cancellationToken = default) => _pause.BeginAsync(cancellationToken);

    /// <inheritdoc/>
    public void Resume() => _pause.End();

    /// <inheritdoc/>
    public void Clear() => _opener.RetireAll();

    /// <inheritdoc/>
    public Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
        => _closing.DrainAsync(timeout, cancellationToken);

    /// <inheritdoc/>
    public PoolSnapshot GetSnapshot() => Snapshots.Of(_parts);

    /// <inheritdoc/>
    public Task<ServerReport> GetServerReportAsync(CancellationToken cancellationToken = default) => _serverDesk.ReportAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<TerminationReport> TerminateIdleSessionsAsync(
        TimeSpan olderThan,
        string? applicationName = null,
        bool dryRun = true,
        bool includeInTransaction = false,
        CancellationToken cancellationToken = default)
        => _serverDesk.TerminateIdleAsync(olderThan, applicationName, dryRun, includeInTransaction, cancellationToken);

    /// <inheritdoc/>
    public string DumpFlightRecorder() => _parts.Recorder.Dump();

    /// <summary>Closes the pool without patience: waiters fail, what is idle is closed, leases are closed when they come back.</summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        if (Shut())
        {
            _source.Dispose();
        }
    }

    /// <summary>Closes the pool without patience: waiters fail, what is idle is closed, leases are closed when they come back.</summary>
    /// <returns>A task that ends when that is done.</returns>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
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
        return $"Pool '{Name}': {counts.Leased} of {counts.Size} leased, {counts.Idle} idle, {counts.Opening} opening, {counts.Waiting} waiting";
    }

    /// <summary>For the packages that belong to this one.</summary>
    internal PoolParts Parts => _parts;

    /// <summary>What listens to the connections of leases while these are out.</summary>
    internal StateChangeEventHandler OnReopened => field ??= new ReopenedConnection(this).OnStateChange;

    internal void Return(LeaseHandle handle, long leaseId) => Synchronously.Result(ReturnAsync(handle, leaseId, blocking: true));

    internal ValueTask ReturnAsync(LeaseHandle handle, long leaseId, bool blocking = false)
    {
        var slot = handle.Slot;
        if (!TrySettle(slot, leaseId))
        {
            return ValueTask.CompletedTask;
        }

        slot.Handle = handle;
        if (!IsPlain(slot))
        {
            return _returner.ReturnAsync(slot, blocking);
        }

        Task closing;
        var connection = slot.Connection!;
        try
        {
            closing = _source.CloseAsync(connection);
        }
        catch (Exception error)
        {
            closing = Task.FromException(error);
        }

        if (!closing.IsCompletedSuccessfully)
        {
            return _returner.FinishAsync(slot, closing, blocking);
        }

        // Whoever has kept it could open a closed one again, past the gate.
        connection.Dispose();
        PutToRest(slot);
        return ValueTask.CompletedTask;
    }

    /// <summary>What a transaction of a lease says first: its timeouts, where a session keeps none. Null: nothing.</summary>
    internal string? WordsForTransaction(LeaseSlot slot) => _parts.Timeouts.ForTransaction(slot.Options);

    internal void Cancel(NpgsqlConnection connection)
    {
        if (_source.StateOf(connection) != ConnectionState.Open)
        {
            Synchronously.Result(_source.CancelAsync(connection, blocking: true));
        }
    }

    internal void OnHandleFound() => _dropped.NoteFound();

    internal void OnDropped(LeaseSlot slot, long leaseId) => _dropped.Report(slot, leaseId);

    internal void Maintain()
    {
        _quiet.CatchUp();
        _desk.ArmNear();
        _desk.LookForDeadlock();
        _parts.Vitals.Beat(_ledger.TotalRents);
        _parts.Peak.Look(_gate.Read().Leased);
        _parts.Watch.LookForMeters();
        _ = _upkeep.RunAsync();
    }

    /// <summary>Takes an idle connection. False with a slot: the place is held, but its connection is missing or needs a closer look.</summary>
    private bool TryTake([NotNullWhen(true)] out LeaseSlot? slot)
    {
        if (!_issuesAtOnce || (_settings.Enlists && Transaction.Current is not null) || !_gate.TryTake(out var place))
        {
            slot = null;
            return false;
        }

        slot = _ledger[place];
        slot.Connection = _source.TryTakeEnlisting();
        // Read after the take: a clear in between makes the return count a connection that Npgsql has closed, which the next taker finds
        // out. Read before, it could leave one at rest that nobody counts.
        slot.Generation = _physicals.Generation;
        return slot.Connection is not null && !_physicals.NeedsCare && !_path.SetsPerLease && !_clock.IsStale;
    }

    private bool IsPlain(LeaseSlot slot)
        // A transaction that the lease began may still be open: a plain close would roll it back all the same, but unsaid.
        => !_returner.HasCeremony
            && slot.LastTransaction is null
            && slot.Options is null
            && slot.IsHeardIn(_physicals.Generation)
            && !_physicals.NeedsCare
            && _source.StateOf(slot.Connection!) == ConnectionState.Open;

    private void PutToRest(LeaseSlot slot)
    {
        slot.Reset();
        if (!_gate.TryGiveBack(slot.Place))
        {
            _resting.HandOn(slot);
        }
    }

    /// <summary>Ends a lease, for one caller only, and says so if something had been said about it.</summary>
    private bool TrySettle(LeaseSlot slot, long leaseId)
    {
        if (!slot.TrySettle(leaseId))
        {
            return false;
        }

        if (slot.Report is not null)
        {
            _detector.NoteReturn(slot, leaseId);
        }

        return true;
    }

    private bool Shut()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 1)
        {
            return false;
        }

        _parts.Leave();
        _closing.Close();
        _parts.Loop.Dispose();
        _opener.Dispose();
        return true;
    }
}
