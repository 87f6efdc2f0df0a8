using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>What an operation is written in.</summary>
internal static class Enclosing
{
    /// <summary>The whole body of the member.</summary>
    public static IOperation Root(this IOperation operation)
    {
        while (operation.Parent is { } parent)
        {
            operation = parent;
        }

        return operation;
    }

    /// <summary>The lambda or local function; null for the member itself.</summary>
    public static IOperation? Function(this IOperation? operation)
    {
        while (operation is not (null or IAnonymousFunctionOperation or ILocalFunctionOperation))
        {
            operation = operation.Parent;
        }

        return operation;
    }
}
