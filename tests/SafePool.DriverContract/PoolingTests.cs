using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.DriverContract.Kit;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>What Npgsql's own pool does by itself, and what it does not once its bounds are equal.</summary>
public sealed class PoolingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>ConnectionStringReader.ForDataSource</c>: equal bounds. Otherwise Npgsql would open connections that have no place.</summary>
    [Fact]
    public async Task EqualPoolBounds_OpenNothingByThemselves()
    {
        await using var driver = await RawDriver.StartAsync();

        await using var first = await driver.OpenAsync();
        await using var second = await driver.OpenAsync();

        Assert.Equal(2, driver.Proxy.TotalAccepted);
        Assert.Equal(0, driver.CountIdle());
    }

    /// <summary>
    /// <c>ConnectionStringReader.ForDataSource</c>: equal bounds switch Npgsql's pruning off. Otherwise it would close idle connections behind the pool's back, and <c>MinSize</c> would mean nothing.
    /// </summary>
    [Fact]
    public async Task EqualPoolBounds_NothingIdleIsPruned()
    {
        await using var driver = await RawDriver.StartAsync(Impatient);
        await using var pruned = await RawDriver.StartAsync(text =>
        {
            Impatient(text);
            text.MinPoolSize = 0;
        });
        await driver.FillAsync(3);
        await pruned.FillAsync(3);

        await Eventually.True(() => pruned.Proxy.OpenConnections == 0, "those with unequal bounds are pruned", TimeSpan.FromSeconds(20));

        Assert.Equal(3, driver.CountIdle());

        static void Impatient(NpgsqlConnectionStringBuilder text) => (text.ConnectionIdleLifetime, text.ConnectionPruningInterval) = (1, 1);
    }

    /// <summary><c>ConnectionStringReader.ForDataSource</c> sets <c>Connection Lifetime</c> 0: only the pool retires. Otherwise a take would close what is old, and come back empty.</summary>
    [Fact]
    public async Task ConnectionLifetimeOfZero_NothingIsTooOld()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var mortal = await RawDriver.StartAsync(text => text.ConnectionLifetime = 1);
        await driver.FillAsync(1);
        await mortal.FillAsync(1);

        await Eventually.True(() => mortal.CountIdle() == 0, "the one with a lifetime of a second is too old");

        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary>
    /// <c>ConnectionOpener.RetireAll</c> and <c>IConnectionSource.Clear</c>: generations. Otherwise a new password, or a restart, would be met by old sessions for an hour.
    /// </summary>
    [Fact]
    public async Task Clear_EndsWhatIsIdleAtOnceAndWhatIsInUseWhenItIsClosed()
    {
        await using var driver = await RawDriver.StartAsync();
        var used = await driver.OpenAsync();
        await driver.FillAsync(2);

        driver.DataSource.Clear();

        await Eventually.True(() => driver.Proxy.OpenConnections == 1, "the idle ones are closed");
        await used.DoAsync("SELECT 1");
        await used.CloseAsync();
        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "so is the other");
        Assert.Null(driver.TryTake());
    }

    /// <summary><c>ServerDataSource.TryChange</c>: a data source that was replaced. Otherwise its connections would stay on the server for ever.</summary>
    [Fact]
    public async Task Dispose_OfTheDataSource_EndsWhatIsIdleAtOnceAndWhatIsInUseWhenItIsClosed()
    {
        await using var driver = await RawDriver.StartAsync();
        var used = await driver.OpenAsync();
        await driver.FillAsync(2);

        await driver.DataSource.DisposeAsync();

        await Eventually.True(() => driver.Proxy.OpenConnections == 1, "the idle ones are closed");
        await used.DoAsync("SELECT 1");
        await used.CloseAsync();
        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "so is the other");
    }

    /// <summary><c>NpgsqlConnectionSource.TryTake(onto)</c> and <c>PhysicalOpening.OpenAsync</c> tell a replaced data source by this. Otherwise a rent would fail instead of going on with the new one.</summary>
    [Fact]
    public async Task Open_DataSourceDisposed_FailsWithObjectDisposed()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = driver.DataSource.CreateConnection();
        await driver.DataSource.DisposeAsync();

        var opening = connection.OpenAsync(new CancellationToken(canceled: true));

        Assert.IsType<ObjectDisposedException>(opening.Exception?.InnerException);
    }

    /// <summary>Decision 52: what a user's clone does is known. It opens in the same pool, and lays down there what it took.</summary>
    [Fact]
    public async Task Clone_Opened_TakesFromTheSamePoolAndPutsBack()
    {
        await using var driver = await RawDriver.StartAsync();
        var identity = (await driver.FillAsync(1)).Single();
        await using var original = driver.DataSource.CreateConnection();

        await using (var clone = (NpgsqlConnection)((ICloneable)original).Clone())
        {
            await clone.OpenAsync(Cancellation);
            Assert.Same(identity, clone.PostgresParameters);
        }

        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary><c>Knock</c> and <c>ControlConnection</c>: unpooled connections are their own. Otherwise each would leave a session behind.</summary>
    [Fact]
    public async Task UnpooledConnection_Closed_LeavesNothingOpen()
    {
        await using var driver = await RawDriver.StartAsync(text => text.Pooling = false);

        await (await driver.OpenAsync()).CloseAsync();

        await Eventually.True(() => driver.Proxy.OpenConnections == 0, "it is closed");
    }

    /// <summary><c>PhysicalConnections</c>: the key of its weak table. Otherwise what the pool knows of one connection would be told of another.</summary>
    [Fact]
    public async Task PostgresParameters_AreOneObjectForEachPhysicalConnection()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var one = await driver.OpenAsync();
        await using var other = await driver.OpenAsync();
        var identity = one.PostgresParameters;

        await one.CloseAsync();
        await using var again = driver.TryTake();

        Assert.NotSame(identity, other.PostgresParameters);
        Assert.Same(identity, again!.PostgresParameters);
        Assert.Same(identity, again.PostgresParameters);
    }

    /// <summary><c>NpgsqlConnectionSource.Identify</c>: a connection that another flow has closed. Otherwise the pool would believe an identity that is somebody else's by now.</summary>
    [Fact]
    public async Task PostgresParameters_OfAClosedConnection_AreRefused()
    {
        await using var driver = await RawDriver.StartAsync();
        var connection = await driver.OpenAsync();
        await connection.CloseAsync();

        Assert.ThrowsAny<InvalidOperationException>(() => connection.PostgresParameters);
        Assert.ThrowsAny<InvalidOperationException>(() => connection.ProcessID);
    }

    /// <summary><c>PhysicalConnections</c> holds what it knows weakly. Otherwise it would grow with every connection that was ever opened.</summary>
    [Fact]
    public async Task PostgresParameters_OfAPhysicalConnectionThatIsGone_AreGarbage()
    {
        await using var driver = await RawDriver.StartAsync();
        var identity = await OpenAndForgetAsync(driver);

        driver.DataSource.Clear();

        await Eventually.True(
            () =>
            {
                GC.Collect();
                return !identity.TryGetTarget(out _);
            },
            "its parameters are collected");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference<object>> OpenAndForgetAsync(RawDriver driver)
        => new((await driver.FillAsync(1)).Single());
}
