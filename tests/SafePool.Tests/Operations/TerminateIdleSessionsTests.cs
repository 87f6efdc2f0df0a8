using Npgsql;
using SafePool.Driver.Control;
using SafePool.Operations;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Operations;

public sealed class TerminateIdleSessionsTests(QuietServer quiet) : IClassFixture<QuietServer>, IAsyncLifetime
{
    private readonly string _application = Strangers.Name("app");
    private PoolOnServer _pool = null!;
    private Strangers _strangers = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pool = await PoolOnServer.CreateAsync(server: quiet.ConnectionString);
        _strangers = new Strangers(quiet.ConnectionString);
    }

    public async ValueTask DisposeAsync()
    {
        await _strangers.DisposeAsync();
        await _pool.DisposeAsync();
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_DryRun_TellsAndDoesNothing()
    {
        var idle = await _strangers.IdleAsync(_application);

        // A dry run is what happens when nothing is said.
        var report = await _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, _application, cancellationToken: Cancellation);

        var found = Assert.Single(report.Sessions);
        Assert.Equal((true, 0, TerminationOutcome.DryRun, idle.ProcessID), (report.IsDryRun, report.Terminated, found.Outcome, found.Session.ProcessId));
        Assert.StartsWith("Dry run: 0 of 1 sessions of ", report.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, await idle.AskAsync<int>("SELECT 1"));
    }

    /// <summary>Each kind of session that must live, beside two that must not.</summary>
    [Fact]
    public async Task TerminateIdleSessionsAsync_AmongSessionsOfEveryKind_EndsOnlyTheOldIdleOnesOfThatApplication()
    {
        var old = await _strangers.IdleAsync(_application);
        var alsoOld = await _strangers.IdleAsync(_application);
        var inTransaction = await _strangers.InTransactionAsync(_application);
        var others = await _strangers.IdleAsync(Strangers.Name("other"));
        await Eventually.True(async () => await AgeAsync(inTransaction.ProcessID) > TimeSpan.FromSeconds(4), "they are old");
        var active = await _strangers.ActiveAsync(_application);
        var young = await _strangers.IdleAsync(_application);

        var report = await _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.FromSeconds(4), _application, dryRun: false, cancellationToken: Cancellation);

        await _strangers.BecomesAsync(old.ProcessID, "gone");
        await _strangers.BecomesAsync(alsoOld.ProcessID, "gone");
        Assert.Equal("active", await _strangers.StateAsync(active.ProcessID));
        Assert.Equal("idle in transaction", await _strangers.StateAsync(inTransaction.ProcessID));
        Assert.Equal("idle", await _strangers.StateAsync(young.ProcessID));
        Assert.Equal("idle", await _strangers.StateAsync(others.ProcessID));
        Assert.Equal(
            [(old.ProcessID, TerminationOutcome.Terminated), (alsoOld.ProcessID, TerminationOutcome.Terminated), (inTransaction.ProcessID, TerminationOutcome.InTransaction)],
            report.Sessions.Select(found => (found.Session.ProcessId, found.Outcome)));
        Assert.Equal((2, false, 0), (report.Terminated, report.IsDryRun, report.Hidden));
        Assert.All(report.Sessions, found => Assert.True(found.Session.StateAge >= TimeSpan.FromSeconds(4)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TerminateIdleSessionsAsync_IncludingTransactions_EndsThoseToo(bool failed)
    {
        var session = await _strangers.InTransactionAsync(_application, failed);

        var report = await _pool.Pool.TerminateIdleSessionsAsync(
            TimeSpan.Zero, _application, dryRun: false, includeInTransaction: true, cancellationToken: Cancellation);

        Assert.Equal(TerminationOutcome.Terminated, Assert.Single(report.Sessions).Outcome);
        await _strangers.BecomesAsync(session.ProcessID, "gone");
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_NoApplicationNamed_MeansThePoolsOwnNameButNotThePool()
    {
        var other = await _strangers.IdleAsync(_application);
        var forgotten = await _strangers.IdleAsync(_pool.ApplicationName);
        await _pool.Pool.FillAsync(2, Cancellation);
        await _pool.WatchingAsync();
        var before = await _pool.SessionsAsync();

        var report = await _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation);

        await _strangers.BecomesAsync(forgotten.ProcessID, "gone");
        Assert.Equal("idle", await _strangers.StateAsync(other.ProcessID));
        Assert.Equal(1, report.Terminated);
        Assert.Equal(
            before.Except([forgotten.ProcessID]).Order(),
            report.Sessions.Where(found => found.Outcome == TerminationOutcome.OfThisPool).Select(found => found.Session.ProcessId).Order());
        Assert.Equal(2, (await _pool.SessionsAsync()).Length);
        Assert.Equal(2, _pool.Snapshot.Idle);
    }

    /// <summary>What another instance of the same application loses it opens anew, without an error for its callers.</summary>
    [Fact]
    public async Task TerminateIdleSessionsAsync_OfAnotherInstance_ItsCallersNoticeNothing()
    {
        await using var instance = await PoolOnServer.CreateAsync(text: text => text.ApplicationName = _pool.ApplicationName, server: quiet.ConnectionString);
        await instance.Pool.FillAsync(2, Cancellation);

        var report = await _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal(2, report.Terminated);
        await Eventually.True(() => instance.Snapshot.TotalClosed == 2, "the other pool has noticed");
        await using var lease = await instance.Pool.RentAsync(Cancellation);
        await lease.DoAsync("SELECT 1");
    }

    /// <summary>Between the list and its turn: busy, busy and idle again, gone.</summary>
    [Theory]
    [InlineData("busy")]
    [InlineData("idle again")]
    [InlineData("gone")]
    public async Task Run_TheSessionHasChangedSinceItWasListed_IsLeftAlone(string change)
    {
        var session = await _strangers.IdleAsync(_application);
        var processId = session.ProcessID;
        await using var server = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(quiet.ConnectionString) { Pooling = false }.ConnectionString);
        await server.OpenAsync(Cancellation);
        var control = new ControlSession(server, Server: null, IsProven: true);
        var survey = await ServerSurvey.TakeAsync(control, new OwnSessions([]), null, Cancellation);
        await (change switch
        {
            "busy" => _strangers.WorkAsync(session),
            "gone" => EndAsync(session),
            _ => AgainAsync(session),
        });

        var report = await new IdleTermination(TimeSpan.Zero, _application, dryRun: false, inTransaction: true).RunAsync(control, survey, Cancellation);

        Assert.Equal(TerminationOutcome.NoLongerIdle, Assert.Single(report.Sessions).Outcome);
        Assert.Equal(0, report.Terminated);
        Assert.Equal(change switch { "busy" => "active", "gone" => "gone", _ => "idle" }, await _strangers.StateAsync(processId));
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_ByARoleThatSeesButMayNot_SaysSoForEach()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.GrantAsync("pg_read_all_stats");
        await using var pool = await PoolOnServer.CreateAsync(text: own.Use, server: quiet.ConnectionString);
        var first = await _strangers.IdleAsync(_application);
        var second = await _strangers.IdleAsync(_application);

        var report = await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, _application, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal([TerminationOutcome.NotPermitted, TerminationOutcome.NotPermitted], report.Sessions.Select(found => found.Outcome));
        Assert.Contains("not permitted", report.ToString(), StringComparison.Ordinal);
        Assert.Equal((1, 1), (await first.AskAsync<int>("SELECT 1"), await second.AskAsync<int>("SELECT 1")));
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_ByARoleThatDoesNotEvenSee_SaysHowManyAreHidden()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await using var pool = await PoolOnServer.CreateAsync(text: own.Use, server: quiet.ConnectionString);
        var idle = await _strangers.IdleAsync(_application);

        var report = await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, _application, dryRun: false, cancellationToken: Cancellation);

        Assert.Empty(report.Sessions);
        Assert.True(report.Hidden >= 1);
        Assert.Contains("hide their state from this role", report.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, await idle.AskAsync<int>("SELECT 1"));
    }

    /// <summary>The server cuts names, and writes in ASCII what is not.</summary>
    [Fact]
    public async Task TerminateIdleSessionsAsync_ANameThatTheServerWritesDifferently_IsFound()
    {
        var name = $"Bücher-{new string('x', 80)}";
        var idle = await _strangers.IdleAsync(name);

        var report = await _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, name, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal(idle.ProcessID, Assert.Single(report.Sessions).Session.ProcessId);
        await _strangers.BecomesAsync(idle.ProcessID, "gone");
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_BehindAPooler_EndsNothing()
    {
        await using var server = await PostgresServer.StartAsync(cancellationToken: Cancellation);
        await using var bouncer = await PgBouncerServer.StartAsync(server.ConnectionString, options => options.Mode = PoolMode.Transaction, Cancellation);
        await using var pool = await PoolOnServer.CreateAsync(server: bouncer.ConnectionString);
        await pool.Pool.FillAsync(1, Cancellation);
        await using var strangers = new Strangers(server.ConnectionString);
        var idle = await strangers.IdleAsync(_application);

        var report = await pool.Pool.GetServerReportAsync(Cancellation);
        var termination = await pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, _application, dryRun: false, cancellationToken: Cancellation);

        Assert.Equal((true, null), (report.IsBehindPooler, report.OfThisPool));
        Assert.Contains("not known behind a pooler", report.ToString(), StringComparison.Ordinal);
        Assert.Equal(TerminationOutcome.BehindPooler, Assert.Single(termination.Sessions).Outcome);
        Assert.Equal("idle", await strangers.StateAsync(idle.ProcessID));
    }

    [Fact]
    public async Task TerminateIdleSessionsAsync_WhatMakesNoSense_IsRefused()
    {
        await using var nameless = await PoolOnServer.CreateAsync(text: text => text.ApplicationName = null, server: quiet.ConnectionString);

        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(
            () => _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.FromSeconds(-1), cancellationToken: Cancellation));
        await Assert.ThrowsAsync<ArgumentException>(() => _pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, " ", cancellationToken: Cancellation));
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() => nameless.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, cancellationToken: Cancellation));
        Assert.Contains("'Application Name'", error.Message, StringComparison.Ordinal);
    }

    private async Task<TimeSpan> AgeAsync(int session)
        => await _pool.AskAsync<TimeSpan>($"SELECT clock_timestamp() - state_change FROM pg_stat_activity WHERE pid = {session}");

    private async Task EndAsync(NpgsqlConnection session)
    {
        var processId = session.ProcessID;
        await session.CloseAsync();
        await _strangers.BecomesAsync(processId, "gone");
    }

    private async Task AgainAsync(NpgsqlConnection session)
    {
        await session.DoAsync("SELECT 2");
        await _strangers.BecomesAsync(session.ProcessID, "idle");
    }
}
