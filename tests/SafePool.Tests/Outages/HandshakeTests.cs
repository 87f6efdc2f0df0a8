using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>A server, or what stands before it, that goes wrong at one step of the handshake: an outage, unless it is a verdict.</summary>
public sealed class HandshakeTests : IAsyncLifetime
{
    private const int SslRequest = 80877103;

    private static readonly TimeSpan _soon = TimeSpan.FromSeconds(20);

    private readonly X509Certificate2 _certificate = SelfSigned();
    private string _server = "";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _server = await Outside.SharedServerAsync();

    public ValueTask DisposeAsync()
    {
        _certificate.Dispose();
        return ValueTask.CompletedTask;
    }

    [Theory]
    [InlineData("silent from the start", SslMode.Disable)]
    [InlineData("silent from the start", SslMode.Require)]
    [InlineData("silent in TLS", SslMode.Require)]
    [InlineData("silent in TLS", SslMode.Prefer)]
    [InlineData("reset in TLS", SslMode.Require)]
    [InlineData("end in TLS", SslMode.Require)]
    [InlineData("garbage in TLS", SslMode.Require)]
    [InlineData("internal error in TLS", SslMode.Require)]
    [InlineData("silent without TLS", SslMode.Prefer)]
    [InlineData("silent in SCRAM", SslMode.Disable)]
    [InlineData("end after the startup", SslMode.Disable)]
    [InlineData("never ready", SslMode.Disable)]
    [InlineData("banner of another protocol", SslMode.Disable)]
    [InlineData("banner of another protocol", SslMode.Require)]
    public async Task Rents_TheHandshakeGoesWrong_TheCircuitOpensAndClosesOnceItIsWell(string step, SslMode encryption)
    {
        await using var fake = FakeServer.Start(session => StepAsync(session, step));
        await using var server = await CreateAsync(fake, encryption);

        var error = await Assert.ThrowsAsync<CircuitOpenException>(() => UseAsync(server));

        Assert.NotNull(error.InnerException);
        var began = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 100; i++)
        {
            await Assert.ThrowsAsync<CircuitOpenException>(() => UseAsync(server));
        }

        Assert.InRange(TimeProvider.System.GetElapsedTime(began), TimeSpan.Zero, TimeSpan.FromSeconds(2));
        Assert.NotEqual(CircuitState.Closed, server.Snapshot.Circuit);
        fake.Script = WellAsync;
        await Eventually.True(() => server.Snapshot.Circuit == CircuitState.Closed, "the circuit closes by itself", _soon);
        await server.UseAsync(Cancellation);
    }

    /// <summary>As the issue measured it: five rents a second, of which each waited for as long as TLS was silent.</summary>
    [Theory]
    [InlineData("silent in TLS")]
    [InlineData("silent from the start")]
    public async Task Rents_FiveASecondWhileTheHandshakeIsSilent_MostFailAtOnce(string step)
    {
        await using var fake = FakeServer.Start(session => StepAsync(session, step));
        await using var server = await CreateAsync(fake, SslMode.Require);
        List<Task<TimeSpan>> rents = [];

        for (var i = 0; i < 50; i++)
        {
            rents.Add(TimeAsync(server));
            await OutageKit.PassAsync(TimeSpan.FromMilliseconds(200), Cancellation);
        }

        var took = (await Task.WhenAll(rents)).Order().ToArray();
        Assert.InRange(took[took.Length / 2], TimeSpan.Zero, TimeSpan.FromMilliseconds(100));
    }

    [Theory]
    [InlineData("certificate that nobody trusts", SslMode.VerifyFull, "certificate")]
    [InlineData("handshake failure in TLS", SslMode.Require, "SSL handshake")]
    [InlineData("protocol version in TLS", SslMode.Require, "SSL handshake")]
    [InlineData("silent without TLS", SslMode.Require, "No SSL enabled")]
    public async Task RentAsync_AVerdictOfTheHandshake_IsToldAtOnceAndIsNoOutage(string step, SslMode encryption, string words)
    {
        await using var fake = FakeServer.Start(session => StepAsync(session, step));
        await using var server = await CreateAsync(fake, encryption);

        for (var i = 0; i < 3; i++)
        {
            var error = await Assert.ThrowsAsync<NpgsqlException>(() => UseAsync(server));
            Assert.Contains(words, error.ToString(), StringComparison.Ordinal);
        }

        Assert.Equal((CircuitState.Closed, 0), (server.Snapshot.Circuit, server.Logged(OutageKit.OpensFail)));
    }

    private static Task UseAsync(PoolOnServer server) => server.UseAsync(Cancellation).WaitAsync(_soon, TimeProvider.System, Cancellation);

    private static async Task<TimeSpan> TimeAsync(PoolOnServer server)
    {
        var began = TimeProvider.System.GetTimestamp();
        await Assert.ThrowsAnyAsync<PoolException>(() => UseAsync(server));
        return TimeProvider.System.GetElapsedTime(began);
    }

    private static bool WantsEncryption(FakeSession session) => BinaryPrimitives.ReadInt32BigEndian(session.Startup.AsSpan(4)) == SslRequest;

    private static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=nobody", key, HashAlgorithmName.SHA256);
        return request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
    }

    private async Task StepAsync(FakeSession session, string step)
    {
        if (step == "silent from the start")
        {
            await session.SilenceAsync();
        }

        if (step == "banner of another protocol")
        {
            await session.SendAsync(Encoding.ASCII.GetBytes("220 mail.example ESMTP\r\n"));
            await session.SilenceAsync();
        }

        await session.ReadStartupAsync();
        if (WantsEncryption(session))
        {
            await session.SendAsync((byte)(step.EndsWith("without TLS", StringComparison.Ordinal) ? 'N' : 'S'));
        }

        switch (step)
        {
            case "reset in TLS":
                session.Reset();
                break;
            case "end in TLS" or "end after the startup":
                break;
            case "garbage in TLS":
                await session.SendAsync(Encoding.ASCII.GetBytes("HTTP/1.1 400 Bad Request\r\n\r\n"));
                await session.SilenceAsync();
                break;
            case "internal error in TLS":
                await session.AlertAsync(80);
                break;
            case "handshake failure in TLS":
                await session.AlertAsync(40);
                break;
            case "protocol version in TLS":
                await session.AlertAsync(70);
                break;
            case "certificate that nobody trusts":
                await session.EncryptAsync(_certificate);
                await session.SilenceAsync();
                break;
            case "silent in SCRAM":
                await session.SendMessageAsync('R', [0, 0, 0, 10, .. Encoding.ASCII.GetBytes("SCRAM-SHA-256\0\0")]);
                await session.SilenceAsync();
                break;
            case "never ready":
                await session.SendMessageAsync('R', 0, 0, 0, 0);
                await session.SilenceAsync();
                break;
            default:
                await session.SilenceAsync();
                break;
        }
    }

    private async Task WellAsync(FakeSession session)
    {
        await session.ReadStartupAsync();
        if (WantsEncryption(session))
        {
            await session.SendAsync((byte)'S');
            await session.EncryptAsync(_certificate);
            await session.ReadStartupAsync();
        }

        await session.PassAsync(new NpgsqlConnectionStringBuilder(_server).Port);
    }

    private Task<PoolOnServer> CreateAsync(FakeServer fake, SslMode encryption)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer) = (4, false);
                (options.ConnectTimeout, options.AcquireTimeout) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(15));
                options.Breaker.TripAfter = TimeSpan.FromSeconds(1);
            },
            text => (text.Port, text.SslMode, text.GssEncryptionMode, text.Password) = (fake.Port, encryption, GssEncryptionMode.Disable, "secret"),
            server: _server);
}
