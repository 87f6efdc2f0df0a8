using System.Transactions;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Scopes in which a lease takes no part.</summary>
public sealed class TransactionScopeTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Return_InsideAScopeThatBeganAfterTheRent_Works()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1);
        var lease = await server.Pool.RentAsync(Cancellation);
        using var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled);

        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        await lease.DisposeAsync();

        Assert.Equal((0, 1), (server.Snapshot.Leased, server.Snapshot.Idle));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "42")]
    public async Task Rent_EnlistIsOff_IsServedAndStateSetInsideTheScopeDoesNotReachTheNext(bool blocking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.MaxSize = 1, text => text.Enlist = false);
        int session;
        using (var scope = new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await using var lease = blocking ? server.Pool.Rent() : await server.Pool.RentAsync(Cancellation);
            session = lease.Session();
            await lease.DoAsync("SET ROLE pg_monitor; SET work_mem = '7MB'");
            Assert.Equal("pg_monitor", await lease.AskAsync<string>("SELECT current_user::text"));
            scope.Complete();
        }

        await using var next = await server.Pool.RentAsync(Cancellation);

        Assert.Equal(session, next.Session());
        Assert.Equal("postgres", await next.AskAsync<string>("SELECT current_user::text"));
        Assert.Equal("4MB", await next.AskAsync<string>("SHOW work_mem"));
    }
}
