using System.Diagnostics;
using System.Text.RegularExpressions;

namespace SafePool.Diagnostics;

/// <summary>Stack traces as people read them: without the frames of the framework, of Npgsql and of SafePool, and with the names that the source has.</summary>
/// <remarks>Taking one walks the stack and looks nothing up; that is done here, when somebody reads it.</remarks>
internal static partial class CallStack
{
    private static readonly string[] _foreign = ["System", "Microsoft", "Npgsql", "SafePool", "mscorlib", "netstandard"];

    public static StackTrace Capture() => new(skipFrames: 1, fNeedFileInfo: false);

    public static string Format(StackTrace calls)
        => string.Join(Environment.NewLine, calls.GetFrames().Select(Describe).OfType<string>());

    private static string? Describe(StackFrame frame)
        => DiagnosticMethodInfo.Create(frame) is { } method && !IsForeign(method.DeclaringAssemblyName)
            ? $"   at {Readable(method.DeclaringTypeName, method.Name)}"
            : null;

    private static bool IsForeign(string assembly)
    {
        var name = assembly.Split(',')[0];
        return name.StartsWith("System.", StringComparison.Ordinal)
            || name.StartsWith("Microsoft.", StringComparison.Ordinal)
            || _foreign.Contains(name);
    }

    /// <summary>What the compiler made of the source, read backwards: state machines, lambdas, local functions, closures.</summary>
    private static string Readable(string? type, string method)
    {
        type = (type ?? "").Replace('+', '.');
        if (StateMachine().Match(type) is { Success: true } machine)
        {
            // 'Outer.<LoadAsync>d__3.MoveNext', or the same of a local function or lambda.
            (type, method) = (machine.Groups["outer"].Value, machine.Groups["method"].Value);
        }

        type = Closure().Replace(type, "");
        method = LocalFunction().Replace(method, "${outer}.${inner}");
        method = Lambda().Replace(method, "${outer}.(lambda)");
        return type.Length == 0 ? method : $"{type}.{method}";
    }

    [GeneratedRegex(@"^(?<outer>.*?)\.?<(?<method>.+)>d(__\d+)?(`\d+)?$")]
    private static partial Regex StateMachine();

    [GeneratedRegex(@"\.<>c(__DisplayClass\d+_\d+)?(`\d+)?(?=\.|$)")]
    private static partial Regex Closure();

    [GeneratedRegex(@"<(?<outer>[^<>]+)>g__(?<inner>[^|]+)\|[\d_]+")]
    private static partial Regex LocalFunction();

    [GeneratedRegex(@"<(?<outer>[^<>]+)>b__[\d_]+")]
    private static partial Regex Lambda();
}
