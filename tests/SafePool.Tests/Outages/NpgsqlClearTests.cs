using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>
/// What a failed open costs in Npgsql 10: it takes the server for gone, closes all that is idle, and what is in use when that is closed. A new version that behaves otherwise fails here, and
/// then nobody need knock (<c>Knock</c>).
/// </summary>
public sealed class NpgsqlClearTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OpenAsync_Refused_EndsHealthyConnectionsThatAreIdleAndThoseInUseOnceTheyAreClosed()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        var text = new NpgsqlConnectionStringBuilder(proxy.ConnectionString(await Outside.SharedServerAsync())) { MinPoolSize = 20, MaxPoolSize = 20 };
        await using var dataSource = NpgsqlDataSource.Create(text);
        var leased = await dataSource.OpenConnectionAsync(Cancellation);
        var alsoLeased = await dataSource.OpenConnectionAsync(Cancellation);
        proxy.RefuseNew = true;
        await Assert.ThrowsAsync<NpgsqlException>(async () => await dataSource.OpenConnectionAsync(Cancellation));

        await leased.DoAsync("SELECT 1");
        await alsoLeased.DoAsync("SELECT 1");
        Assert.Equal(2, proxy.OpenConnections);
        await leased.CloseAsync();
        await alsoLeased.CloseAsync();

        await Eventually.True(() => proxy.OpenConnections == 0, "both are closed");
    }
}
