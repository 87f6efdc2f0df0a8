using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>A role that may not ask what the pool asks for its own sake: the application works all the same.</summary>
public sealed class RefusedQuestionsTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private const int NotAsked = 144;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("EXECUTE ON FUNCTION pg_backend_pid()", true, false)]
    [InlineData("EXECUTE ON FUNCTION pg_backend_pid()", true, true)]
    [InlineData("EXECUTE ON FUNCTION pg_postmaster_start_time()", true, false)]
    [InlineData("EXECUTE ON FUNCTION pg_stat_get_activity(int)", true, true)]
    [InlineData("EXECUTE ON FUNCTION pg_is_in_recovery()", true, false)]
    [InlineData("SELECT ON pg_settings", false, false)]
    [InlineData("SELECT ON pg_settings", false, true)]
    [InlineData("SELECT ON pg_stat_activity", false, false)]
    [InlineData("EXECUTE ON FUNCTION pg_show_all_settings()", false, false)]
    [InlineData("EXECUTE ON FUNCTION current_setting(text)", true, false)]
    public async Task RentAsync_AQuestionIsRefused_ServesAndSaysItOnce(string right, bool losesSomething, bool blocking)
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.RevokeAsync(right);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.StatementTimeout) = (2, TimeSpan.FromSeconds(7)), own.Use, server: quiet.ConnectionString);

        await using var lease = blocking ? pool.Pool.Rent() : await pool.Pool.RentAsync(Cancellation);
        await using (var other = await pool.Pool.RentAsync(Cancellation))
        {
            Assert.Equal("7s", await other.AskAsync<string>("SHOW statement_timeout"));
        }

        Assert.Equal("7s", await lease.AskAsync<string>("SHOW statement_timeout"));
        Assert.Equal(losesSomething ? 1 : 0, pool.Logs.Entries.Count(entry => entry.EventId.Id == NotAsked));
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.EventId.Id != NotAsked && entry.Level >= Microsoft.Extensions.Logging.LogLevel.Warning);
    }

    /// <summary>It cannot be proven whose the backend is, so nobody is told to end; the place comes back when the command has ended by its own timeout.</summary>
    [Fact]
    public async Task ReturnAsync_WhileACommandRuns_TheSessionCannotBeProven_IsCancelledByTheProtocolAlone()
    {
        await using var own = await OwnRole.CreateAsync(quiet.ConnectionString);
        await own.RevokeAsync("EXECUTE ON FUNCTION pg_postmaster_start_time()");
        await using var pool = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, own.Use, server: quiet.ConnectionString);
        var lease = await pool.Pool.RentAsync(Cancellation);
        var session = lease.Session();
        var running = lease.DoAsync("SELECT pg_sleep(600)");
        await Eventually.True(async () => await pool.ActivityAsync(session) == "active", "it runs");

        await lease.DisposeAsync();

        await Assert.ThrowsAnyAsync<Exception>(() => running);
        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal(session, next.Session());
        Assert.Equal(1, (await pool.Pool.GetServerReportAsync(Cancellation)).OfThisPool);
        var refused = await Assert.ThrowsAsync<ControlConnectionException>(
            () => pool.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, dryRun: false, cancellationToken: Cancellation));
        Assert.Contains("not proven", refused.Message, StringComparison.Ordinal);
    }
}
