using Microsoft.Extensions.Options;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

public sealed class SecretTests
{
    private const string Password = "hunter2-marker";

    private readonly List<string> _said = [];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "98")]
    public async Task Password_OfAPoolThatWorks_IsInNothingItSays()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await CreateAsync(proxy: proxy);
        var lease = await server.Pool.RentAsync(Cancellation);
        _said.Add(lease.Connection.ConnectionString);
        _said.Add(lease.Connection.DataSource);
        await lease.DoAsync("BEGIN");

        await HearAsync(async () => await server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMilliseconds(50) }, Cancellation));
        await HearAsync(async () => await server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.Zero }, Cancellation));
        await lease.DisposeAsync();

        var busy = await server.Pool.RentAsync(Cancellation);
        var running = busy.DoAsync("SELECT pg_sleep(60)");
        await busy.DisposeAsync();
        await HearAsync(() => running);

        var broken = await server.Pool.RentAsync(Cancellation);
        proxy.ResetAll();
        await HearAsync(() => broken.DoAsync("SELECT 1"));
        await broken.DisposeAsync();
        server.Pool.Clear();
        var report = await server.Pool.DrainAsync(TimeSpan.FromSeconds(5), Cancellation);
        _said.Add(report.ToString());
        await HearAsync(async () => await server.Pool.RentAsync(Cancellation));

        AssertSilent(server, errors: 5);
    }

    [Theory]
    [InlineData("no_such_database")]
    [InlineData("no_such_role")]
    [InlineData("nobody_listens")]
    [Trait("Conformance", "98")]
    public async Task Password_OfAPoolThatCannotConnect_IsInNothingItSays(string fault)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = fault == "nobody_listens";
        await using var server = await CreateAsync(
            text =>
            {
                text.Database = fault == "no_such_database" ? fault : text.Database;
                text.Username = fault == "no_such_role" ? fault : text.Username;
            },
            proxy);

        await HearAsync(async () => await server.Pool.RentAsync(Cancellation));
        await HearAsync(() => Task.Run(() => server.Pool.Rent(), Cancellation));
        await HearAsync(() => server.Pool.WarmUpAsync(Cancellation));

        AssertSilent(server, errors: 3);
    }

    [Fact]
    [Trait("Conformance", "98")]
    public async Task Password_OfOptionsThatAreRefused_IsNotInTheMessage()
    {
        var text = new NpgsqlConnectionStringBuilder(await Outside.SharedServerAsync()) { Password = Password, Pooling = false, MaxPoolSize = 3 };

        var faults = Assert.Throws<OptionsValidationException>(() => ConnectionPool.Create(text.ConnectionString, options => options.MaxSize = 4));
        var garbled = Assert.Throws<OptionsValidationException>(() => ConnectionPool.Create($"{text.ConnectionString};{Password}"));

        Assert.Equal(2, faults.Failures.Count());
        Assert.DoesNotContain(Password, faults.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(Password, garbled.ToString(), StringComparison.Ordinal);
    }

    private static Task<PoolOnServer> CreateAsync(Action<NpgsqlConnectionStringBuilder>? text = null, TcpProxy? proxy = null)
        => PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.MinSize, options.AcquireTimeout, options.StatementTimeout)
                = (1, 1, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30)),
            settings =>
            {
                settings.Password = Password;
                text?.Invoke(settings);
            },
            proxy: proxy);

    private async Task HearAsync(Func<Task> action)
    {
        var error = await Record.ExceptionAsync(action);
        Assert.NotNull(error);
        _said.Add(error.ToString());
        _said.AddRange(error.Data.Values.Cast<object?>().Select(value => $"{value}"));
        if (error is PoolException { Snapshot: var snapshot })
        {
            _said.Add(snapshot.ToString());
        }
    }

    private void AssertSilent(PoolOnServer server, int errors)
    {
        Assert.True(_said.Count >= errors);
        Assert.NotEmpty(server.Logs.Entries);
        _said.Add(server.Pool.ToString());
        _said.Add(server.Pool.Name);
        _said.Add(server.Snapshot.ToString());
        _said.Add($"{server.Snapshot.LastConnectError}");
        foreach (var entry in server.Logs.Entries)
        {
            _said.Add($"{entry} {entry.Exception} {string.Join(' ', entry.State)}");
        }

        Assert.DoesNotContain(_said, said => said.Contains(Password, StringComparison.OrdinalIgnoreCase));
    }
}
