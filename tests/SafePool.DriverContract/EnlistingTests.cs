using System.Transactions;
using Npgsql;
using SafePool.DriverContract.Kit;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>What Npgsql does with connections that work for a transaction of <c>System.Transactions</c>.</summary>
public sealed class EnlistingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>EnlistedPlaces</c>: a connection closed within a scope waits for the next open in it. Otherwise two leases in one scope would need two phases.</summary>
    [Fact]
    public async Task OpenTwiceWithinOneScope_GivesTheSameConnectionAndNobodyElseHasItMeanwhile()
    {
        await using var driver = await RawDriver.StartAsync();
        using var scope = Words.Scope();
        var first = await driver.OpenAsync();
        var identity = first.PostgresParameters;
        await first.CloseAsync();

        using (new TransactionScope(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled))
        {
            Assert.Null(driver.TryTake());
        }

        // Also with a token that is cancelled already: that is how the pool goes on with it.
        await using var second = driver.TryTake();
        Assert.Same(identity, second?.PostgresParameters);
        scope.Complete();
    }

    /// <summary><c>EnlistedPlaces</c> marks what was closed within a scope, because Npgsql resets nothing of it. If it does one day, the mark is a round trip for nothing.</summary>
    [Fact]
    public async Task Close_WithinAScope_ResetsNothingForTheNextUser()
    {
        await using var driver = await RawDriver.StartAsync();
        using (var scope = Words.Scope())
        {
            await using (var connection = await driver.OpenAsync())
            {
                await connection.DoAsync("SET work_mem = '7MB'");
            }

            scope.Complete();
        }

        await using var next = driver.TryTake()!;

        Assert.Equal("7MB", await next.AskAsync<string>("SHOW work_mem"));
    }

    /// <summary>
    /// <c>EnlistedPlaces</c> takes a parked connection over in that event, on that thread. Were it idle already, somebody else could have it, and the place be counted twice.
    /// </summary>
    [Fact]
    public async Task TransactionCompleted_OfOneConnection_ComesBeforeItIsIdle()
    {
        await using var driver = await RawDriver.StartAsync();
        int? idle = null;
        using (var scope = Words.Scope())
        {
            await using (var connection = await driver.OpenAsync())
            {
                await connection.DoAsync("SELECT 1");
            }

            Transaction.Current!.TransactionCompleted += (_, _) => idle = CountIdleOutside(driver);
            scope.Complete();
        }

        Assert.Equal(0, idle);
        await Eventually.True(() => driver.CountIdle() == 1, "it is idle in the end");
    }

    /// <summary><c>ServerDataSource</c>: without <c>Enlist</c> Npgsql does not look for a transaction, 30 to 40 ns at every open.</summary>
    [Fact]
    public async Task EnlistSwitchedOff_ScopeRolledBack_KeepsWhatWasDone()
    {
        await using var driver = await RawDriver.StartAsync(text => text.Enlist = false);
        await using var connection = await driver.OpenAsync();
        await connection.DoAsync("CREATE TEMP TABLE notes (n int)");
        await connection.CloseAsync();
        await using var within = await driver.OpenAsync();
        using (Words.Scope())
        {
            await within.DoAsync("CREATE TEMP TABLE kept (n int)");
        }

        Assert.Equal(0, await within.AskAsync<long>("SELECT count(*) FROM kept"));
    }

    /// <summary>
    /// <c>Enlistment.LetGo</c>: to enlist again is no news while Npgsql remembers the transaction, and refused once it has forgotten. Otherwise the pool would wait for that in vain.
    /// </summary>
    [Fact]
    public async Task EnlistTransaction_Again_IsNothingWhileItGoesOnAndRefusedAfterwards()
    {
        await using var driver = await RawDriver.StartAsync();
        using var transaction = new CommittableTransaction();
        await using var connection = await driver.OpenAsync();
        connection.EnlistTransaction(transaction);
        await connection.DoAsync("SELECT 1");

        connection.EnlistTransaction(transaction);
        transaction.Commit();

        Assert.ThrowsAny<Exception>(() => connection.EnlistTransaction(transaction));
        connection.EnlistTransaction(null);
        await connection.DoAsync("SELECT 1");
    }

    private static int CountIdleOutside(RawDriver driver)
    {
        using var outside = new TransactionScope(TransactionScopeOption.Suppress);
        return driver.CountIdle();
    }
}
