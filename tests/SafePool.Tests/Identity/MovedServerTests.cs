using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>The address moves to another server, and the pool is renewed: it has nothing to do with the old one any more.</summary>
public sealed class MovedServerTests : IAsyncLifetime
{
    private readonly ManualTimeProvider _clock = new();
    private PostgresServer _old = null!;
    private PostgresServer _new = null!;
    private SwitchedForwarder _forwarder = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        (_old, _new) = (await PostgresServer.StartAsync(), await PostgresServer.StartAsync());
        _forwarder = new SwitchedForwarder(_old.Port);
    }

    public async ValueTask DisposeAsync()
    {
        await _forwarder.DisposeAsync();
        await _old.DisposeAsync();
        await _new.DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ThePoolIsRenewed_ReportTerminationAndReturns_ConcernTheNewServer(bool byClear)
    {
        await using var pool = await CreateAsync();
        await pool.Pool.FillAsync(2, Cancellation);
        _ = await pool.Pool.GetServerReportAsync(Cancellation);
        await using var oldOne = await NamesakeAsync(_old, pool.ApplicationName);
        await using var newOne = await NamesakeAsync(_new, pool.ApplicationName);
        _forwarder.LeadTo(_new.Port);
        await RenewAsync(pool, byClear);

        var leases = await pool.Pool.RentAsync(2, Cancellation);
        var report = await pool.Pool.GetServerReportAsync(Cancellation);
        var ended = await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal(
            leases.Select(lease => lease.Session()).Order(),
            report.Sessions.Where(session => session.Owner == SessionOwner.ThisPool).Select(session => session.ProcessId).Order());
        Assert.Equal(newOne.ProcessID, Assert.Single(ended.Sessions, session => session.Outcome == TerminationOutcome.Terminated).Session.ProcessId);
        Assert.Equal(1, await oldOne.AskAsync<int>("SELECT 1"));

        var waiting = Task.Run(() => leases[0].Connection.WaitAsync(), Cancellation);
        await Eventually.True(() => leases[0].Connection.FullState.HasFlag(System.Data.ConnectionState.Fetching), "it waits");
        var returning = leases[0].DisposeAsync().AsTask();
        await Eventually.True(
            () =>
            {
                _clock.Advance(TimeSpan.FromMilliseconds(250));
                return returning.IsCompleted;
            },
            "it is returned");
        await Assert.ThrowsAnyAsync<Exception>(() => waiting);
        await Eventually.True(
            () =>
            {
                _clock.Advance(TimeSpan.FromMilliseconds(50));
                return pool.Snapshot is { Quarantined: 0, Leased: 1 };
            },
            "the place is back");

        // The old server shuts down, and nothing of the pool is retired.
        await leases[1].DisposeAsync();
        await pool.Pool.FillAsync(2, Cancellation);
        var (closed, sessions) = (pool.Snapshot.TotalClosed, await SessionsAsync(_new, pool.ApplicationName));
        await _old.StopAsync();
        _clock.Advance(TimeSpan.FromSeconds(5));
        await using var next = await pool.Pool.RentAsync(Cancellation);
        await using var other = await pool.Pool.RentAsync(Cancellation);
        Assert.Superset(new[] { next.Session(), other.Session() }.ToHashSet(), sessions.ToHashSet());
        Assert.Equal(closed, pool.Snapshot.TotalClosed);
    }

    private static Task<int[]> SessionsAsync(PostgresServer server, string name)
        => new Outside(server.ConnectionString).AskAsync<int[]>(
            $"SELECT coalesce(array_agg(pid), '{{}}') FROM pg_stat_activity WHERE application_name = '{name}'");

    /// <summary>A pool without a session on either asks where its next one would be opened.</summary>
    [Fact]
    public async Task GetServerReportAsync_ClearedAndNothingOpenedSince_IsOfTheNewServer()
    {
        await using var pool = await CreateAsync();
        await pool.Pool.FillAsync(2, Cancellation);
        await using var newOne = await NamesakeAsync(_new, pool.ApplicationName);
        _forwarder.LeadTo(_new.Port);
        pool.Pool.Clear();

        var report = await pool.Pool.GetServerReportAsync(Cancellation);

        Assert.Contains(report.Sessions, session => session.ProcessId == newOne.ProcessID && session.Owner == SessionOwner.ThisApplication);
        Assert.Equal(0, report.OfThisPool);
    }

    [Fact]
    public async Task GetServerReportAsync_OfAPoolThatIsIdle_LeavesNoSessionBehind()
    {
        await using var pool = await CreateAsync();
        await pool.Pool.FillAsync(1, Cancellation);

        _ = await pool.Pool.GetServerReportAsync(Cancellation);

        var all = $"SELECT count(*)::int FROM pg_stat_activity WHERE starts_with(application_name, '{pool.ApplicationName}')";
        await Eventually.True(async () => await pool.AskAsync<int>(all) == 1, "only the pool's own is left");
    }

    private async Task RenewAsync(PoolOnServer pool, bool byClear)
    {
        if (byClear)
        {
            pool.Pool.Clear();
            return;
        }

        await Eventually.True(
            () =>
            {
                _clock.Advance(TimeSpan.FromMinutes(10));
                return pool.Snapshot is { Leased: 0, Idle: 0 } && pool.Snapshot.TotalOpened == pool.Snapshot.TotalClosed;
            },
            "all have grown too old");
    }

    private static async Task<NpgsqlConnection> NamesakeAsync(PostgresServer server, string name)
    {
        var session = new NpgsqlConnection($"{server.ConnectionString};Pooling=false;Application Name={name}");
        await session.OpenAsync(Cancellation);
        await session.DoAsync("SELECT 1");
        return session;
    }

    private Task<PoolOnServer> CreateAsync()
        => PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.WatchServer, options.MaxLifetime, options.AcquireTimeout) = (2, false, TimeSpan.FromMinutes(30), TimeSpan.FromHours(9)),
            text => text.Port = _forwarder.Port,
            _clock,
            _old.ConnectionString);
}
