using System.Data;
using SafePool.DriverContract.Kit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>Taking what is idle, and nothing else.</summary>
public sealed class TakingTests
{
    private static readonly CancellationToken _cancelled = new(canceled: true);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>
    /// <c>NpgsqlConnectionSource.TryTake</c>, every rent: no rent connects by itself, so sockets never exceed <c>MaxSize</c>. Otherwise a rent could open one more, and wait for it.
    /// </summary>
    [Fact]
    public async Task OpenWithACancelledToken_NothingIdle_GivesUpBeforeTheFirstPacket()
    {
        await using var driver = await RawDriver.StartAsync();

        var opening = driver.DataSource.CreateConnection().OpenAsync(_cancelled);

        Assert.True(opening.IsCanceled, $"It is {opening.Status} when OpenAsync returns.");
        await using var first = await driver.OpenAsync();
        Assert.Equal(1, driver.Proxy.TotalAccepted);
    }

    /// <summary><c>NpgsqlConnectionSource.TryTake</c>: the hot path is synchronous. Otherwise no rent would be served without a wait, and <c>TryRent</c> never.</summary>
    [Fact]
    public async Task OpenWithACancelledToken_OneIdle_TakesItBeforeItReturns()
    {
        await using var driver = await RawDriver.StartAsync();
        var identity = (await driver.FillAsync(1)).Single();
        await using var connection = driver.DataSource.CreateConnection();

        var opening = connection.OpenAsync(_cancelled);

        Assert.True(opening.IsCompletedSuccessfully);
        Assert.Same(identity, connection.PostgresParameters);
    }

    /// <summary>
    /// <c>NpgsqlConnectionSource.TryTake</c>: what gave up leaves nothing behind. Otherwise Npgsql would count it, and be full after so many vain takes as it has places.
    /// </summary>
    [Fact]
    public async Task OpenWithACancelledToken_InVainManyTimes_LeavesRoomForAll()
    {
        await using var driver = await RawDriver.StartAsync();
        for (var i = 0; i < 100; i++)
        {
            Assert.Null(driver.TryTake());
        }

        await driver.FillAsync(20);

        Assert.Equal(20, driver.CountIdle());
    }

    /// <summary>The same object is opened again after it gave up: <c>NpgsqlConnectionSource.TryTake(onto)</c>, for Dapper and EF Core. Otherwise their second attempt would fail.</summary>
    [Fact]
    public async Task OpenWithACancelledToken_InVain_LeavesAnObjectThatCanBeOpened()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var connection = driver.DataSource.CreateConnection();
        Assert.True(connection.OpenAsync(_cancelled).IsCanceled);
        Assert.Equal(ConnectionState.Closed, connection.FullState);
        await driver.FillAsync(1);

        Assert.True(connection.OpenAsync(_cancelled).IsCompletedSuccessfully);
    }

    /// <summary>
    /// <c>NpgsqlConnectionSource.TryTake(onto)</c> tells by this that its user's object is open or disposed, and takes another. Otherwise the take would throw at a rent.
    /// </summary>
    [Fact]
    public async Task Open_OfWhatIsOpenOrDisposed_ThrowsInvalidOperationAtOnce()
    {
        await using var driver = await RawDriver.StartAsync();
        await using var open = await driver.OpenAsync();
        var disposed = driver.DataSource.CreateConnection();
        await disposed.DisposeAsync();

        Assert.ThrowsAny<InvalidOperationException>(() => { _ = open.OpenAsync(_cancelled); });
        Assert.ThrowsAny<InvalidOperationException>(() => { _ = disposed.OpenAsync(_cancelled); });
    }

    /// <summary>
    /// <c>UnsentResets</c> and <c>LowWaterMark</c>: what came to rest lately is at the end, and under traffic each is touched. Otherwise the idle sweep would flush the wrong ones.
    /// </summary>
    [Fact]
    public async Task IdleConnections_AreHandedOutInTheOrderInWhichTheyCameBack()
    {
        await using var driver = await RawDriver.StartAsync();
        var identities = await driver.FillAsync(3);

        var taken = Enumerable.Range(0, 3).Select(_ => driver.TryTake()!).ToArray();

        Assert.Equal(identities, taken.Select(connection => connection.PostgresParameters));
    }

    /// <summary>
    /// <c>Connector.OpenAside</c>: by the time an open returns it has found nothing idle and begun to connect, so what was set aside is handed back at once. Otherwise
    /// <c>MinSize</c> would not be kept while connections come and go.
    /// </summary>
    [Fact]
    public async Task Open_NothingIdle_HasDecidedToConnectWhenItReturns()
    {
        await using var driver = await RawDriver.StartAsync();
        var aside = await driver.OpenAsync();
        var identity = aside.PostgresParameters;
        driver.Proxy.AcceptDelay = TimeSpan.FromMilliseconds(100);

        var opening = driver.DataSource.OpenConnectionAsync(Cancellation);
        await aside.CloseAsync();
        await using var opened = await opening;

        Assert.NotSame(identity, opened.PostgresParameters);
        Assert.Equal(1, driver.CountIdle());
    }

    /// <summary><c>OpenSettlement</c>: an open takes what is idle before it connects, so a connection that lies under no place is found again. Otherwise there could be a socket too many.</summary>
    [Fact]
    public async Task Open_OneIdle_TakesThatInsteadOfConnecting()
    {
        await using var driver = await RawDriver.StartAsync();
        var identity = (await driver.FillAsync(1)).Single();

        await using var opened = await driver.OpenAsync();

        Assert.Same(identity, opened.PostgresParameters);
        Assert.Equal(1, driver.Proxy.TotalAccepted);
    }
}
