using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using System.Security.Cryptography;
using Npgsql;
using SafePool.Driver;
using Xunit;

namespace SafePool.Tests.Connections;

/// <summary>Which failures of an open prove that waiting is in vain. What is not known proves nothing.</summary>
public sealed class OpenFailuresTests
{
    private static readonly NpgsqlException _wrongPassword = Answer("28P01");
    private static readonly NpgsqlException _refused = new("Failed to connect", new SocketException((int)SocketError.ConnectionRefused));

    public static TheoryData<string, string> Failures { get; } = new()
    {
        { "a socket refused", nameof(OpenFailureKind.Curable) },
        { "a bare socket error", nameof(OpenFailureKind.Curable) },
        { "a name that is not resolved", nameof(OpenFailureKind.Curable) },
        { "a time limit", nameof(OpenFailureKind.Curable) },
        { "a cancellation that nobody here asked for", nameof(OpenFailureKind.Curable) },
        { "no suitable host", nameof(OpenFailureKind.Curable) },
        { "bare words of the driver that nobody knows", nameof(OpenFailureKind.Curable) },
        { "a type that nobody knows", nameof(OpenFailureKind.Curable) },
        { "a handshake that is silent", nameof(OpenFailureKind.Curable) },
        { "a handshake that is cut", nameof(OpenFailureKind.Curable) },
        { "a handshake of bytes that make no sense", nameof(OpenFailureKind.Curable) },
        { "a handshake with an internal error over there", nameof(OpenFailureKind.Curable) },
        { "a certificate that is not trusted", nameof(OpenFailureKind.RefusedForGood) },
        { "a handshake that the server judged", nameof(OpenFailureKind.RefusedForGood) },
        { "a client's certificate that is missing, told at the first read", nameof(OpenFailureKind.RefusedForGood) },
        { "no encryption over there", nameof(OpenFailureKind.RefusedForGood) },
        { "no encryption by GSS over there", nameof(OpenFailureKind.RefusedForGood) },
        { "no password here", nameof(OpenFailureKind.RefusedForGood) },
        { "a way to log in that is not known", nameof(OpenFailureKind.RefusedForGood) },
        { "a way to log in that is ruled out here", nameof(OpenFailureKind.RefusedForGood) },
        { "garbage for an answer", nameof(OpenFailureKind.Curable) },
        { "an argument", nameof(OpenFailureKind.FaultHere) },
        { "a provider that is at fault", nameof(OpenFailureKind.FaultHere) },
        { "a key file that is not there", nameof(OpenFailureKind.FaultHere) },
        { "a key that is broken", nameof(OpenFailureKind.FaultHere) },
        { "a pool that is closed", nameof(OpenFailureKind.FaultHere) },
        { "a socket that was closed under it", nameof(OpenFailureKind.Curable) },
        { "a provider whose service is away", nameof(OpenFailureKind.Curable) },
        { "a provider that wraps that its service is away", nameof(OpenFailureKind.Curable) },
        { "all hosts refuse the password", nameof(OpenFailureKind.RefusedForGood) },
        { "one host refuses the password, one is away", nameof(OpenFailureKind.Curable) },
        { "one host refuses the password, one is a fault here", nameof(OpenFailureKind.RefusedForGood) },
        { "the same, wrapped", nameof(OpenFailureKind.Curable) },
    };

    [Theory]
    [InlineData("28P01", true)]
    [InlineData("28000", true)]
    [InlineData("3D000", true)]
    [InlineData("42501", true)]
    [InlineData("42704", true)]
    [InlineData("22023", true)]
    [InlineData("0A000", true)]
    [InlineData("55P02", true)]
    [InlineData("08P01", false)]
    [InlineData("08000", false)]
    [InlineData("08006", false)]
    [InlineData("08004", false)]
    [InlineData("25006", false)]
    [InlineData("40001", false)]
    [InlineData("42P05", false)]
    [InlineData("53000", false)]
    [InlineData("53200", false)]
    [InlineData("53300", false)]
    [InlineData("53400", false)]
    [InlineData("54000", false)]
    [InlineData("55000", false)]
    [InlineData("55006", false)]
    [InlineData("57014", false)]
    [InlineData("57P01", false)]
    [InlineData("57P02", false)]
    [InlineData("57P03", false)]
    [InlineData("57P04", false)]
    [InlineData("57P05", false)]
    [InlineData("58000", false)]
    [InlineData("58P01", false)]
    [InlineData("F0000", false)]
    [InlineData("P0001", false)]
    [InlineData("XX000", false)]
    [InlineData("XX001", false)]
    [InlineData("ZZ999", false)]
    [InlineData("", false)]
    public void KindOf_AnAnswer_IsInVainOnlyWhenItsStateIsNamed(string state, bool isInVain)
        => Assert.Equal(isInVain ? OpenFailureKind.RefusedForGood : OpenFailureKind.Curable, OpenFailures.KindOf(Answer(state)));

    [Theory]
    [InlineData("28000", "Try AGAIN LATER.", false)]
    [InlineData("28P01", "authentication backend timed out", false)]
    [InlineData("0A000", "temporarily not supported", false)]
    [InlineData("3D000", "database unavailable_yet does not exist", true)]
    [InlineData("22023", "invalid value for parameter statement_timeout", true)]
    [InlineData("28000", "role \"again later\" is \"unavailable\"", true)]
    [InlineData("28000", "role \"app\" cannot log in: unavailable, see \"help\"", false)]
    [InlineData("28000", "a quote \" that is never closed: unavailable", false)]
    [InlineData("08006", "whatever", false)]
    public void KindOf_AnAnswerWithWords_IsInVainUnlessTheyTakeItBack(string state, string text, bool isInVain)
        => Assert.Equal(isInVain ? OpenFailureKind.RefusedForGood : OpenFailureKind.Curable, OpenFailures.KindOf(new PostgresException(text, "FATAL", "FATAL", state)));

    [Theory]
    [MemberData(nameof(Failures))]
    public void KindOf_WhateverAnOpenThrows_IsInVainOnlyWhenItProvesThat(string what, string kind)
        => Assert.Equal(kind, OpenFailures.KindOf(Failure(what)).ToString());

    [Theory]
    [InlineData("53300", true)]
    [InlineData("XX000", true)]
    [InlineData("55000", true)]
    [InlineData("08000", true)]
    [InlineData("58000", true)]
    [InlineData("ZZ999", true)]
    [InlineData("57P01", false)]
    [InlineData("57P02", false)]
    [InlineData("57P03", false)]
    [InlineData("28P01", false)]
    public void IsRefusedForNow_AnAnswer_IsSoUnlessItIsInVainOrTheServerGoesDown(string state, bool expected)
    {
        Assert.Equal(expected, OpenFailures.IsRefusedForNow(Answer(state)));
        Assert.Equal(expected, OpenFailures.IsRefusedForNow(new NpgsqlException("told", Answer(state))));
        Assert.Equal(expected, OpenFailures.IsRefusedForNow(new AggregateException(Answer(state), expected ? _refused : _wrongPassword)));
    }

    [Fact]
    public void IsRefusedForNow_NoAnswer_IsNot()
    {
        Assert.False(OpenFailures.IsRefusedForNow(_refused));
        Assert.False(OpenFailures.IsRefusedForNow(new TimeoutException()));
    }

    [Fact]
    public void Reasons_Each_SaysWhyAndIsInThePageOfOutages()
    {
        var page = File.ReadAllText(PagePath());

        Assert.All(InVain.States, reason => Assert.Contains($"| `{reason.Sign}` | {reason.Why} |", page, StringComparison.Ordinal));
        Assert.All(InVain.TakenBackBy, words => Assert.Contains($"`{words}`", page, StringComparison.Ordinal));
        Assert.All(InVain.DriverWords.Concat(InVain.HandshakeWords), reason => Assert.NotEmpty(reason.Why));
    }

    private static string PagePath([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "../../../docs/outages.md");

    private static Exception Failure(string what) => what switch
    {
        "a socket refused" => _refused,
        "a bare socket error" => new SocketException((int)SocketError.NetworkDown),
        "a name that is not resolved" => new NpgsqlException("Name or service not known", new SocketException((int)SocketError.HostNotFound)),
        "a time limit" => new NpgsqlException("late", new TimeoutException()),
        "a cancellation that nobody here asked for" => new TaskCanceledException(),
        "no suitable host" => new NpgsqlException("No suitable host was found."),
        "bare words of the driver that nobody knows" => new NpgsqlException("Something else"),
        "a type that nobody knows" => new NobodyKnowsException(),
        "a handshake that is silent" => Handshake(new OperationCanceledException()),
        "a handshake that is cut" => Handshake(new IOException("Received an unexpected EOF or 0 bytes from the transport stream.")),
        "a handshake of bytes that make no sense" => Handshake(new AuthenticationException("Cannot determine the frame size or a corrupted frame was received.")),
        "a handshake with an internal error over there" => Handshake(OpenSsl("tlsv1 alert internal error")),
        "a certificate that is not trusted" => Handshake(
            new AuthenticationException("The remote certificate was rejected by the provided RemoteCertificateValidationCallback.")),
        "a handshake that the server judged" => Handshake(OpenSsl("sslv3 alert handshake failure")),
        "a client's certificate that is missing, told at the first read" => new NpgsqlException(
            "Exception while reading from stream", new IOException("The decryption operation failed, see inner exception.", OpenSsl("tlsv13 alert certificate required"))),
        "no encryption over there" => new NpgsqlException("SSL connection requested. No SSL enabled connection from this host is configured."),
        "no encryption by GSS over there" => new NpgsqlException(
            "Exception while performing GSS encryption",
            new NpgsqlException("GGS encryption requested. No GSS encryption enabled connection from this host is configured.")),
        "no password here" => new NpgsqlException("No password has been provided but the backend requires one (in SASL/SCRAM-SHA-256)"),
        "a way to log in that is not known" => new NotSupportedException("Authentication method not supported (Received: KerberosV5)"),
        "a way to log in that is ruled out here" => new NpgsqlException("\"MD5\" authentication method is not allowed. Allowed methods: None"),
        "garbage for an answer" => new NpgsqlException("Received unknown response H for SSLRequest (expecting S or N)"),
        "an argument" => new ArgumentException("Host can't be null"),
        "a provider that is at fault" => Provider(new InvalidOperationException("the vault is sealed")),
        "a key file that is not there" => new FileNotFoundException("client.key"),
        "a key that is broken" => new CryptographicException("no PEM"),
        "a pool that is closed" => new ObjectDisposedException("Npgsql.NpgsqlDataSource"),
        "a socket that was closed under it" => new NpgsqlException("write", new ObjectDisposedException("System.Net.Sockets.NetworkStream")),
        "a provider whose service is away" => Provider(new HttpRequestException("503")),
        "a provider that wraps that its service is away" => Provider(new InvalidOperationException("no token", new HttpRequestException("503"))),
        "all hosts refuse the password" => new AggregateException(_wrongPassword, Answer("28000")),
        "one host refuses the password, one is away" => new AggregateException(_wrongPassword, _refused),
        "one host refuses the password, one is a fault here" => new AggregateException(new ArgumentException("Host"), _wrongPassword),
        "the same, wrapped" => new NpgsqlException("Unable to connect", new AggregateException(_wrongPassword, _refused)),
        _ => throw new ArgumentOutOfRangeException(nameof(what), what, null),
    };

    private static PostgresException Answer(string state) => new("in words that nobody knows", "FATAL", "FATAL", state);

    private static NpgsqlException Handshake(Exception cause) => new("Exception while performing SSL handshake", cause);

    private static NpgsqlException Provider(Exception cause) => new("Obtaining password using ProvidePasswordCallback delegate failed", cause);

    private static AuthenticationException OpenSsl(string words)
        => new("Authentication failed, see inner exception.", new NobodyKnowsException("SSL Handshake failed", new CryptographicException($"error:0A000000:SSL routines::{words}")));

    private sealed class NobodyKnowsException(string? message = null, Exception? cause = null) : Exception(message, cause);
}
