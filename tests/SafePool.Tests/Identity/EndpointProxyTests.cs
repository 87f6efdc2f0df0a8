using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>What the user says in <c>Options</c> may be what leads to the database: the control connection says it too.</summary>
public sealed class EndpointProxyTests(QuietServer quiet) : IClassFixture<QuietServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("")]
    [InlineData(" -c search_path=pg_catalog")]
    public async Task ControlConnection_BehindAProxyThatNeedsOptions_Opens(string more)
    {
        await using var proxy = new EndpointProxy(new NpgsqlConnectionStringBuilder(quiet.ConnectionString).Port);
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.StatementTimeout) = (1, TimeSpan.FromSeconds(90)),
            text =>
            {
                (text.Port, text.SslMode, text.GssEncryptionMode) = (proxy.Port, SslMode.Disable, GssEncryptionMode.Disable);
                text.Options = EndpointProxy.Option + more;
            },
            server: quiet.ConnectionString);
        var lease = await pool.Pool.RentAsync(Cancellation);
        var connection = lease.Connection;
        await connection.DoAsync("SELECT 1");

        var report = await pool.Pool.GetServerReportAsync(Cancellation);
        var waiting = Task.Run(() => connection.WaitAsync(), Cancellation);
        await Eventually.True(() => connection.FullState.HasFlag(System.Data.ConnectionState.Fetching), "it waits");
        await lease.DisposeAsync();

        await Assert.ThrowsAnyAsync<Exception>(() => waiting);
        await Eventually.True(() => pool.Snapshot is { Leased: 0, Quarantined: 0 }, "the place is back");
        Assert.Equal(1, report.OfThisPool);
        Assert.Equal(0, proxy.Refused);
    }
}
